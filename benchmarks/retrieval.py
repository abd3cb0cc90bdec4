"""Do images show what they were asked for? The right caption among ten, as a probe of real images finds, as JSON.

python benchmarks/retrieval.py icons icons-images --count 500 --out retrieval.json

The probe is a ridge regression from EfficientNet-Lite2's pooled features, which no loss has seen, to text vectors; it
has read real training images and their captions. Captions are those of held-out images, each asked for in the style
of its own collection. Bounds: the held-out images themselves, and chance.
"""

from pathlib import Path

import numpy as np
import torch
from impasto.training.captions import captions_of
from torch import Tensor

from common import options, write
from impasto import api
from impasto.config import Sampling
from impasto.create.generate import generate_each
from impasto.data import evenly_spaced, prepare
from impasto.evaluate.evaluator import BATCH, Evaluator

CHOICES = 10
PENALTIES = (1.0, 10.0, 100.0, 1000.0, 10000.0)


class Probe:
    """Ridge regression from features to text vectors; the penalty is the best on every tenth image."""

    def __init__(self, features: Tensor, vectors: Tensor) -> None:
        self.mean, self.deviation = features.mean(0), features.std(0).clamp(min=1e-3)
        self.centre = vectors.mean(0)
        x, y = self._standardised(features), vectors - self.centre
        is_kept = torch.arange(len(x)) % 10 == 0
        fits = [(self._fit(x[~is_kept], y[~is_kept], penalty), penalty) for penalty in PENALTIES]
        _, best = min(
            (float((x[is_kept] @ weights - y[is_kept]).square().mean()), penalty) for weights, penalty in fits
        )
        self.weights = self._fit(x, y, best)

    def __call__(self, features: Tensor) -> Tensor:
        """Text vectors, less their mean."""
        return self._standardised(features) @ self.weights

    def _standardised(self, features: Tensor) -> Tensor:
        return (features - self.mean) / self.deviation

    @staticmethod
    def _fit(x: Tensor, y: Tensor, penalty: float) -> Tensor:
        return torch.linalg.solve(x.T @ x + penalty * torch.eye(x.shape[1]), x.T @ y)


def found(said: Tensor, captions: Tensor, rng: np.random.Generator) -> float:
    """How often an image's own caption is nearer to what the probe says than nine other captions."""
    said, captions = (torch.nn.functional.normalize(v) for v in (said, captions))
    hits = []
    for row in range(len(said)):
        others = torch.nonzero((captions @ captions[row]) < 0.999)[:, 0]
        chosen = others[torch.from_numpy(rng.choice(len(others), CHOICES - 1, replace=False))]
        scores = captions[torch.cat([torch.tensor([row]), chosen])] @ said[row]
        hits.append(int(scores.argmax()) == 0)
    return float(np.mean(hits))


def tell(what: str, done: int, total: int) -> None:
    print(f"{what}: {done} of {total}", flush=True)


@torch.no_grad()
def main() -> None:
    """Measure and print."""
    parser = options(__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--real", type=int, default=4000, help="training images that the probe reads")
    parser.add_argument("--guidance", type=float, default=2.5)
    parser.add_argument("--steps", type=int, default=Sampling.steps)
    arguments = parser.parse_args()
    model = api.load(arguments.run, "cpu")
    assert model.styles is not None
    with model.cache() as cache:
        images = prepare(arguments.images, resolution=model.config.resolution, cache=cache)
        evaluator = Evaluator(images, model.device, 0, tell, max_side=arguments.real, cache=cache)
        probe = Probe(evaluator.train.pooled, captions_of(images, evaluator.train_indices))
        chosen = evenly_spaced(images.held_out, arguments.count)
        vectors = captions_of(images, chosen)
        if len(torch.unique(vectors.float().round(decimals=3), dim=0)) < CHOICES:
            raise SystemExit(f"the held-out images have fewer than {CHOICES} captions: more images, or more --count")
        told = model.styles[
            [model.config.collections.index(images.entries[index].collection) for index in chosen.tolist()]
        ]
        settings = Sampling(guidance=arguments.guidance, steps=arguments.steps)
        made = evaluator.features_of(
            generate_each(model.network, told, settings, texts=vectors), "making images", len(chosen)
        )
        real = evaluator.features_of(
            (evaluator.batch(chosen[start : start + BATCH]) for start in range(0, len(chosen), BATCH)), "", 0
        )
    rng = np.random.default_rng(0)
    result: dict[str, object] = {
        "generated": found(probe(made.pooled), vectors - probe.centre, rng),
        "real held-out images": found(probe(real.pooled), vectors - probe.centre, rng),
        "chance": 1 / CHOICES,
        "count": len(chosen),
        "guidance": arguments.guidance,
    }
    print(result)
    write(result, arguments.out)


if __name__ == "__main__":
    main()
