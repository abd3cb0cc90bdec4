"""Which settings of the sampler give the best pictures? Frechet distance, unity and probe accuracy, as JSON.

python benchmarks/sampling.py runs/emoji emoji128.zip --guidance 1 1.5 2 3 --steps 8 16 32 --out sampling.json

Every guidance is measured at the first of ``--temperature`` and the middle one of ``--steps``, then every number of
steps and every temperature at the guidance with the lowest distance. The same seeds throughout; real pictures are
training pictures. Beside each number stands that of other real pictures.
"""

from pathlib import Path

from common import options, write
from impasto import api
from impasto.config import Against
from impasto.data import prepare
from impasto.evaluate.judge import Judge
from impasto.evaluate.samples import make_samples
from impasto.evaluate.scores import Score


def main() -> None:
    """Measure and print."""
    parser = options(__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--guidance", type=float, nargs="+", default=[1.0, 1.5, 2.0, 3.0])
    parser.add_argument("--steps", type=int, nargs="+", default=[8, 16, 32])
    parser.add_argument("--temperature", type=float, nargs="+", default=[1.0, 0.9])
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--real", type=int, help="training pictures to compare with (default: all)")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    model = api.load(arguments.run, arguments.device)
    assert model.styles is not None
    pictures = prepare(arguments.pictures, resolution=model.config.resolution, cache=arguments.run / "cache")
    judge = Judge(pictures, model.device, 0, most=arguments.real)
    results: dict[str, dict[str, object]] = {}

    def distance(guidance: float, steps: int, temperature: float) -> float:
        name = f"guidance {guidance:g}, {steps} steps, temperature {temperature:g}"
        made = make_samples(
            model.network,
            model.styles,
            judge,
            arguments.samples,
            steps=steps,
            guidance=guidance,
            temperature=temperature,
        )
        scores = [*judge.generation(made.looks, Against.ALL), *judge.style(made.looks, made.labels)[:2]]
        results[name] = {score.name: score.record() for score in scores}
        said = [f"{s.name} {s.value:.4g}" for s in scores if isinstance(s, Score)]
        print(f"{name}: {', '.join(said)}", flush=True)
        if arguments.out:
            made.sheet.save(arguments.out.with_suffix(f".{len(results)}.png"))
        write(results, arguments.out)
        frechet = scores[0]
        assert isinstance(frechet, Score), "too few samples"
        return frechet.value

    steps, temperature = sorted(arguments.steps)[len(arguments.steps) // 2], arguments.temperature[0]
    by_guidance = {guidance: distance(guidance, steps, temperature) for guidance in arguments.guidance}
    best = min(by_guidance, key=by_guidance.__getitem__)
    for other in arguments.steps:
        if other != steps:
            distance(best, other, temperature)
    for other in arguments.temperature[1:]:
        distance(best, steps, other)


if __name__ == "__main__":
    main()
