"""Agreement of images with their captions: how often a probe ranks the right caption first among ten, as JSON.

python benchmarks/retrieval.py icons icons-images --count 500 --out retrieval.json

The probe is a ridge regression from pooled features of EfficientNet-Lite2, which no loss uses, to text vectors; it is
fitted to training images and their captions. The captions are those of held-out images; each image is generated in the
style of its collection. References are the held-out images themselves, and chance.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from common import options, write
from impasto import api
from impasto.config import Sampling
from impasto.create.generate import generate_each
from impasto.data import evenly_spaced, prepare
from impasto.evaluate.evaluator import BATCH, Evaluator
from impasto.training.prior_stage import captions_of

CHOICES = 10
PENALTIES = (1.0, 10.0, 100.0, 1000.0, 10000.0)


class Probe:
    """Ridge regression from features to text vectors; every tenth image selects the penalty."""

    def __init__(self, features: Tensor, vectors: Tensor) -> None:
        self.mean, self.deviation = features.mean(0), features.std(0).clamp(min=1e-3)
        self.centre = vectors.mean(0)
        x, y = self._standardised(features), vectors - self.centre
        is_validation = torch.arange(len(x)) % 10 == 0
        fits = [(self._fit(x[~is_validation], y[~is_validation], penalty), penalty) for penalty in PENALTIES]
        _, best = min(
            (float((x[is_validation] @ weights - y[is_validation]).square().mean()), penalty)
            for weights, penalty in fits
        )
        self.weights = self._fit(x, y, best)

    def __call__(self, features: Tensor) -> Tensor:
        """Text vectors minus their mean."""
        return self._standardised(features) @ self.weights

    def _standardised(self, features: Tensor) -> Tensor:
        return (features - self.mean) / self.deviation

    @staticmethod
    def _fit(x: Tensor, y: Tensor, penalty: float) -> Tensor:
        return torch.linalg.solve(x.T @ x + penalty * torch.eye(x.shape[1]), x.T @ y)


def accuracy(predicted: Tensor, captions: Tensor, rng: np.random.Generator) -> float:
    """How often an image's own caption is nearer to the predicted text vector than nine other captions."""
    predicted, captions = (torch.nn.functional.normalize(v) for v in (predicted, captions))
    hits = []
    for row in range(len(predicted)):
        others = torch.nonzero((captions @ captions[row]) < 0.999)[:, 0]
        drawn = others[torch.from_numpy(rng.choice(len(others), CHOICES - 1, replace=False))]
        scores = captions[torch.cat([torch.tensor([row]), drawn])] @ predicted[row]
        hits.append(int(scores.argmax()) == 0)
    return float(np.mean(hits))


def report(task: str, done: int, total: int) -> None:
    print(f"{task}: {done} of {total}", flush=True)


@torch.no_grad()
def main() -> None:
    """Measure and print."""
    parser = options(__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--real", type=int, default=4000, help="maximum number of training images to fit the probe to")
    parser.add_argument("--guidance", type=float, default=2.5)
    parser.add_argument("--steps", type=int, default=Sampling.steps)
    arguments = parser.parse_args()
    model = api.load(arguments.run, "cpu")
    assert model.styles is not None
    with model.cache() as cache:
        images = prepare(arguments.images, resolution=model.config.resolution, cache=cache)
        evaluator = Evaluator(images, model.device, 0, report, max_images=arguments.real, cache=cache)
        probe = Probe(evaluator.train.pooled, captions_of(images, evaluator.train_indices))
        indices = evenly_spaced(images.held_out, arguments.count)
        vectors = captions_of(images, indices)
        if len(torch.unique(vectors.float().round(decimals=3), dim=0)) < CHOICES:
            raise SystemExit(f"the held-out images have fewer than {CHOICES} captions: use more images or --count.")
        styles = model.styles[
            [model.config.collections.index(images.entries[index].collection) for index in indices.tolist()]
        ]
        settings = Sampling(guidance=arguments.guidance, steps=arguments.steps)
        generated = evaluator.features_of(
            generate_each(model.network, styles, settings, texts=vectors), "generating images", len(indices)
        )
        batches = (evaluator.batch(indices[start : start + BATCH]) for start in range(0, len(indices), BATCH))
        real = evaluator.features_of(batches, "computing features of held-out images", len(indices))
    rng = np.random.default_rng(0)
    result: dict[str, object] = {
        "generated": accuracy(probe(generated.pooled), vectors - probe.centre, rng),
        "real held-out images": accuracy(probe(real.pooled), vectors - probe.centre, rng),
        "chance": 1 / CHOICES,
        "count": len(indices),
        "guidance": arguments.guidance,
    }
    print(result)
    write(result, arguments.out)


if __name__ == "__main__":
    main()
