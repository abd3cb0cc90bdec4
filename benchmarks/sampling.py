"""Settings of the sampler compared: Frechet distance, set unity and probe accuracy, as JSON.

python benchmarks/sampling.py runs/emoji emoji128.zip --guidance 1.5 1 3 --internal-guidance 4 2 6 --out sampling.json

A coordinate search over guidance, internal guidance, steps and temperature, in this order: it varies one setting, keeps
the value with the lowest Frechet distance, and continues with the next. The first value of each setting is the start.
All samples use the same seeds. Each score has the same score of other real images as a reference.
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

SETTINGS = ("guidance", "internal_guidance", "steps", "temperature")


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
    parser.add_argument("--real", type=int, help="maximum number of training images to compare with (default: all)")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    model = api.load(arguments.run, arguments.device)
    assert model.styles is not None
    with model.cache() as cache:
        images = prepare(arguments.images, resolution=model.config.resolution, cache=cache)
        evaluator = Evaluator(images, model.device, 0, max_images=arguments.real, cache=cache)
        results: dict[str, dict[str, object]] = {}

        def distance(settings: Sampling) -> float:
            values = dataclasses.asdict(settings)
            name = ", ".join(f"{key} {values[key]:g}" for key in SETTINGS)
            samples = make_samples(model.network, model.styles, evaluator, arguments.samples, settings)
            scores = [
                *evaluator.generation(samples.features, Against.ALL),
                *evaluator.style(samples.features, samples.labels)[:2],
            ]
            results[name] = {score.name: score.record() for score in scores}
            texts = [f"{score.name} {score.value:.4g}" for score in scores if isinstance(score, Score)]
            print(f"{name}: {', '.join(texts)}", flush=True)
            if arguments.out:
                samples.sheet.save(arguments.out.with_suffix(f".{len(results)}.png"))
            write(results, arguments.out)
            frechet = scores[0]
            assert isinstance(frechet, Score), "too few samples"
            return frechet.value

        best = Sampling(**{key: getattr(arguments, key)[0] for key in SETTINGS})
        lowest = distance(best)
        for key in SETTINGS:
            for value in getattr(arguments, key)[1:]:
                candidate = dataclasses.replace(best, **{key: value})
                if (frechet := distance(candidate)) < lowest:
                    best, lowest = candidate, frechet


if __name__ == "__main__":
    main()
