"""Which settings of the sampler give the best images? Frechet distance, unity and probe accuracy, as JSON.

python benchmarks/sampling.py runs/emoji emoji128.zip --guidance 1.5 1 3 --internal-guidance 4 2 6 --out sampling.json

One setting after another, each at the best of those before and the first of those after: guidance, internal guidance,
steps, temperature. The best has the lowest Frechet distance. The same seeds throughout; real images are training
images. Beside each number stands that of other real images.
"""

import dataclasses
from pathlib import Path

from common import options, write
from impasto import api
from impasto.config import Against, Sampling
from impasto.data import prepare
from impasto.evaluate.evaluator import Evaluator
from impasto.evaluate.samples import make_samples
from impasto.evaluate.scores import Score

TRIED = ("guidance", "internal_guidance", "steps", "temperature")


def main() -> None:
    """Measure and print."""
    parser = options(__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--guidance", type=float, nargs="+", default=[1.5, 1.0, 2.5, 4.0])
    parser.add_argument("--internal-guidance", type=float, nargs="+", default=[4.0, 1.0, 2.0, 6.0])
    parser.add_argument("--steps", type=int, nargs="+", default=[8, 4, 16, 32])
    parser.add_argument("--temperature", type=float, nargs="+", default=[1.0, 0.9])
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--real", type=int, help="training images to compare with (default: all)")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    model = api.load(arguments.run, arguments.device)
    assert model.styles is not None
    with model.cache() as cache:
        images = prepare(arguments.images, resolution=model.config.resolution, cache=cache)
        evaluator = Evaluator(images, model.device, 0, max_side=arguments.real, cache=cache)
        results: dict[str, dict[str, object]] = {}

        def distance(settings: Sampling) -> float:
            values = dataclasses.asdict(settings)
            name = ", ".join(f"{key} {values[key]:g}" for key in TRIED)
            made = make_samples(model.network, model.styles, evaluator, arguments.samples, settings)
            scores = [
                *evaluator.generation(made.features, Against.ALL),
                *evaluator.style(made.features, made.labels)[:2],
            ]
            results[name] = {score.name: score.record() for score in scores}
            said = [f"{s.name} {s.value:.4g}" for s in scores if isinstance(s, Score)]
            print(f"{name}: {', '.join(said)}", flush=True)
            if arguments.out:
                made.sheet.save(arguments.out.with_suffix(f".{len(results)}.png"))
            write(results, arguments.out)
            frechet = scores[0]
            assert isinstance(frechet, Score), "too few samples"
            return frechet.value

        best = Sampling(**{key: getattr(arguments, key)[0] for key in TRIED})
        lowest = distance(best)
        for key in TRIED:
            for value in getattr(arguments, key)[1:]:
                tried = dataclasses.replace(best, **{key: value})
                if (found := distance(tried)) < lowest:
                    best, lowest = tried, found


if __name__ == "__main__":
    main()
