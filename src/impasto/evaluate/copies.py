"""Are samples new, or training images once more?"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

COPY_QUANTILE = 0.05
"""A sample is called a copy when it is nearer to a training image than this part of the training images are to
their own nearest neighbour."""
ROWS_AT_A_TIME = 512
LOOKED_AT_SIDE = 16
"""Pixels are compared at this size: a copy moved by a pixel is still a copy."""


@dataclass(frozen=True)
class Neighbours:
    """The nearest training image of every image of a set."""

    distance: Float[Tensor, " image"]
    index: Int[Tensor, " image"]


def nearest(
    queries: Float[Tensor, "_query feature"],
    training: Float[Tensor, "_image feature"],
    *,
    leave_out_self: bool = False,
) -> Neighbours:
    """Euclidean nearest neighbours among ``training``; without itself where the queries are the training images."""
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


def copy_threshold(training: Float[Tensor, "_image feature"], is_single: Tensor) -> float:
    """The distance below which an image is called a copy.

    ``is_single`` marks the training images without a near-duplicate in the folder: a folder that holds the same
    image twice must not hide copies.
    """
    singles = training[is_single] if int(is_single.sum()) > 1 else training
    distances = nearest(singles, singles, leave_out_self=True).distance
    return float(torch.quantile(distances[:: max(1, len(distances) // 100_000)], COPY_QUANTILE))


@dataclass(frozen=True)
class Copies:
    """Which images are training images once more."""

    nearest: Neighbours
    """Of the samples."""
    is_copy: Bool[Tensor, " image"]
    """Of the samples."""
    held_out_is_copy: Bool[Tensor, " image"]
    """The same for held-out images, which are none: what a sample may be taken for by chance."""


def find_copies(
    training: Float[Tensor, "_image feature"],
    samples: Float[Tensor, "_sample feature"],
    held_out: Float[Tensor, "_held feature"],
    is_single: Tensor | None = None,
) -> Copies:
    """Compare samples and held-out images with training images; ``is_single`` is as of `copy_threshold`."""
    singles = torch.ones(len(training), dtype=torch.bool) if is_single is None else is_single
    threshold = copy_threshold(training, singles)
    found = nearest(samples, training)
    return Copies(found, found.distance < threshold, nearest(held_out, training).distance < threshold)


def thumbnails(pixels: Tensor) -> Float[Tensor, "_image feature"]:
    """uint8 images (n, channels, height, width) as small flat vectors of RGB over white, in [0, 1]."""
    small = torch.nn.functional.adaptive_avg_pool2d(pixels[:, :3].float() / 255, LOOKED_AT_SIDE)
    return small.flatten(1)
