"""Held-out reconstruction and distance of samples, of a trained run, as JSON.

python benchmarks/quality.py runs/emoji emoji128.zip --samples 1000 --out quality.json

Beside the samples' Frechet distance stands that of as many real training pictures: the bound of a perfect model.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from common import options, write
from impasto import api
from impasto.create.generate import generate
from impasto.create.style import parse_reference, pooled_style
from impasto.data import PictureSet, prepare
from impasto.evaluate.frechet import PooledFeatures, frechet_distance
from impasto.model.autoencoder import LEVEL_NAMES
from impasto.training.measure import held_out_scores

BATCH = 32


def real_pictures(pictures: PictureSet, indices: np.ndarray) -> Iterator[torch.Tensor]:
    """Batches of real pictures, RGB over white and alpha, in [0, 1]."""
    for start in range(0, len(indices), BATCH):
        yield torch.from_numpy(pictures.batch(indices[start : start + BATCH])).float() / 255


def sampled_pictures(model: api.Model, counts: dict[str, int], **settings: float) -> Iterator[torch.Tensor]:
    """Batches of new pictures, so many in the style of each collection; the same noise for the same number."""
    start = 0
    for name, count in counts.items():
        reference = parse_reference(name, model.config.collections)
        style, _ = pooled_style(model.network, model.styles, [reference])
        made = generate(model.network, style, range(start, start + count), seed=0, **settings)  # pyrefly: ignore
        for picture in made:
            yield torch.from_numpy(picture[None])
        start += count


def sample_distance(
    model: api.Model,
    pictures: PictureSet,
    samples: int,
    *,
    steps: int = 16,
    temperature: float = 1.0,
    guidance: float = 1.5,
) -> float:
    """Frechet distance of samples to the training pictures, collections in their real proportions."""
    names, ids = pictures.collections, pictures.collection_ids[pictures.train]
    counts = {name: round(samples * float((ids == i).mean())) for i, name in enumerate(names)}
    made = sampled_pictures(model, counts, steps=steps, temperature=temperature, guidance=guidance)
    return frechet_distance(real_pictures(pictures, pictures.train), made, PooledFeatures())


def main() -> None:
    """Measure and print."""
    parser = options(__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--samples", type=int, default=1000)
    arguments = parser.parse_args()
    model = api.load(arguments.run, "cpu")
    pictures = prepare(arguments.pictures, resolution=model.config.resolution, cache=arguments.run / "cache")
    scores = held_out_scores(model.network.autoencoder, pictures, model.device, most=len(pictures.held_out))
    result = {
        "held_out_pictures": scores.count,
        "psnr_db_per_prefix": dict(zip(LEVEL_NAMES, scores.psnr_per_prefix, strict=True)),
        "rate_nats": dict(zip(LEVEL_NAMES, scores.rates, strict=True)),
        "rate_share": {n: r / sum(scores.rates) for n, r in zip(LEVEL_NAMES, scores.rates, strict=True)},
    }
    if arguments.samples:
        some = np.random.default_rng(0).permutation(pictures.train)
        half = min(arguments.samples, len(some) // 2)
        result["samples"] = arguments.samples
        result["frechet_samples"] = sample_distance(model, pictures, arguments.samples)
        result["frechet_real_split"] = frechet_distance(
            real_pictures(pictures, np.sort(some[half:])), real_pictures(pictures, np.sort(some[:half]))
        )
    print(json.dumps(result, indent=2))
    write(result, arguments.out)


if __name__ == "__main__":
    main()
