"""Are samples new, or training pictures once more?"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

COPY_QUANTILE = 0.05
"""A sample is called a copy when it is nearer to a training picture than this part of the training pictures are to
their own nearest neighbour."""
ROWS_AT_A_TIME = 512
LOOKED_AT_SIDE = 16
"""Pixels are compared at this size: a copy moved by a pixel is still a copy."""


@dataclass(frozen=True)
class Neighbours:
    """The nearest training picture of every picture of a set."""

    distance: Float[Tensor, " picture"]
    index: Int[Tensor, " picture"]


def nearest(
    queries: Float[Tensor, "_query feature"],
    training: Float[Tensor, "_picture feature"],
    *,
    leave_out_self: bool = False,
) -> Neighbours:
    """Euclidean nearest neighbours among ``training``; without itself where the queries are the training pictures."""
    distances, indices = [], []
    for start in range(0, len(queries), ROWS_AT_A_TIME):
        block = torch.cdist(queries[start : start + ROWS_AT_A_TIME], training)
        if leave_out_self:
            rows = torch.arange(len(block))
            block[rows, start + rows] = torch.inf
        found = block.min(1)
        distances.append(found.values)
        indices.append(found.indices)
    return Neighbours(torch.cat(distances), torch.cat(indices))


def copy_threshold(training: Float[Tensor, "_picture feature"], is_single: Tensor) -> float:
    """The distance below which a picture is called a copy.

    ``is_single`` marks the training pictures without a near-duplicate in the folder: a folder that holds the same
    picture twice must not hide copies.
    """
    singles = training[is_single] if int(is_single.sum()) > 1 else training
    distances = nearest(singles, singles, leave_out_self=True).distance
    return float(torch.quantile(distances[:: max(1, len(distances) // 100_000)], COPY_QUANTILE))


@dataclass(frozen=True)
class Copies:
    """Which pictures are training pictures once more."""

    nearest: Neighbours
    """Of the samples."""
    is_copy: Bool[Tensor, " picture"]
    """Of the samples."""
    held_out_is_copy: Bool[Tensor, " picture"]
    """The same for held-out pictures, which are none: what a sample may be taken for by chance."""


def find_copies(
    training: Float[Tensor, "_picture feature"],
    samples: Float[Tensor, "_sample feature"],
    held_out: Float[Tensor, "_held feature"],
    is_single: Tensor | None = None,
) -> Copies:
    """Compare samples and held-out pictures with training pictures; ``is_single`` is as of `copy_threshold`."""
    singles = torch.ones(len(training), dtype=torch.bool) if is_single is None else is_single
    threshold = copy_threshold(training, singles)
    found = nearest(samples, training)
    return Copies(found, found.distance < threshold, nearest(held_out, training).distance < threshold)


def thumbnails(pixels: Tensor) -> Float[Tensor, "_picture feature"]:
    """uint8 pictures (n, channels, height, width) as small flat vectors of RGB over white, in [0, 1]."""
    small = torch.nn.functional.adaptive_avg_pool2d(pixels[:, :3].float() / 255, LOOKED_AT_SIDE)
    return small.flatten(1)
