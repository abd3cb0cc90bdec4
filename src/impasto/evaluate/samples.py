"""Samples of a model, collection by collection, as the judge sees them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from impasto.config import Sampling
from impasto.create.generate import generate
from impasto.create.grid import grid
from impasto.create.picture import to_image
from impasto.evaluate.judge import COLUMNS, Judge
from impasto.evaluate.looks import Looks
from impasto.model.gaussian import Gaussian
from impasto.model.impasto import Impasto


@dataclass(frozen=True)
class Samples:
    """What was made: a row for each sample, those of a collection side by side."""

    looks: Looks
    labels: Tensor
    """int64 (sample,): the collection that was asked for, as the judge's pictures number them."""
    sheet: Image.Image
    """The first few of each collection."""


def make_samples(
    model: Impasto,
    styles: Tensor,
    judge: Judge,
    count: int,
    settings: Sampling,
) -> Samples:
    """Make ``count`` samples in the styles of the collections that model and judge know, in their real proportions.

    ``styles`` (collection, 2, style_dim) are the model's collections' pooled styles, mean and log-variance.
    """
    names: Sequence[str] = judge.pictures.collections
    labels = judge.labels(model.config.collections, count)
    shown: dict[str, list[Image.Image]] = {}

    def batches() -> Iterator[Tensor]:
        start = 0
        for label, members in zip(*(t.tolist() for t in labels.unique_consecutive(return_counts=True)), strict=True):
            told = styles[model.config.collections.index(names[label])].to(judge.device)
            made = generate(
                model,
                Gaussian(told[:1], told[1:]),
                range(start, start + members),
                settings,
            )
            row = shown[names[label]] = []
            for array in made:
                if len(row) < COLUMNS:
                    row.append(to_image(array))
                yield torch.from_numpy(array[None])
            start += members

    looks = judge.look(batches(), "making samples", count)
    return Samples(looks, labels, grid(list(shown.values()), list(shown)))
