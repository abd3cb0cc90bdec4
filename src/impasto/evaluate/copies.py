"""Detection of samples that copy training images."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

COPY_QUANTILE = 0.05
"""A sample counts as a copy if its distance to a training image is below this quantile of the distances between
training images and their nearest neighbours."""
BLOCK_ROWS = 512
THUMBNAIL_SIDE = 16
"""Pixels are compared at this size, so that a copy shifted by one pixel counts as a copy."""


@dataclass(frozen=True)
class Neighbours:
    """The nearest training image of each image of a set."""

    distance: Float[Tensor, " image"]
    index: Int[Tensor, " image"]


def nearest(
    queries: Float[Tensor, "_query feature"],
    training: Float[Tensor, "_image feature"],
    *,
    exclude_self: bool = False,
) -> Neighbours:
    """Euclidean nearest neighbours among ``training``; with ``exclude_self`` the queries must be ``training``."""
    distances, indices = [], []
    for start in range(0, len(queries), BLOCK_ROWS):
        block = torch.cdist(queries[start : start + BLOCK_ROWS], training)
        if exclude_self:
            rows = torch.arange(len(block))
            block[rows, start + rows] = torch.inf
        nearest_in_block = block.min(1)
        distances.append(nearest_in_block.values)
        indices.append(nearest_in_block.indices)
    return Neighbours(torch.cat(distances), torch.cat(indices))


def copy_threshold(training: Float[Tensor, "_image feature"], is_single: Tensor) -> float:
    """The distance below which an image counts as a copy.

    ``is_single`` marks the training images without near-duplicates. The threshold is computed from these only, because
    near-duplicates would lower it and hide copies.
    """
    singles = training[is_single] if int(is_single.sum()) > 1 else training
    distances = nearest(singles, singles, exclude_self=True).distance
    return float(torch.quantile(distances[:: max(1, len(distances) // 100_000)], COPY_QUANTILE))


@dataclass(frozen=True)
class Copies:
    """The images that count as copies of training images."""

    nearest: Neighbours
    """Nearest training images of the samples."""
    is_copy: Bool[Tensor, " image"]
    """Whether each sample counts as a copy."""
    held_out_is_copy: Bool[Tensor, " image"]
    """The same for held-out images: the rate of false positives."""


def find_copies(
    training: Float[Tensor, "_image feature"],
    samples: Float[Tensor, "_sample feature"],
    held_out: Float[Tensor, "_held feature"],
    is_single: Tensor | None = None,
) -> Copies:
    """Compare samples and held-out images with training images; for ``is_single`` see `copy_threshold`."""
    singles = torch.ones(len(training), dtype=torch.bool) if is_single is None else is_single
    threshold = copy_threshold(training, singles)
    neighbours = nearest(samples, training)
    return Copies(neighbours, neighbours.distance < threshold, nearest(held_out, training).distance < threshold)


def thumbnails(pixels: Tensor) -> Float[Tensor, "_image feature"]:
    """uint8 images (n, channels, height, width) as flattened thumbnails of RGB over white, in [0, 1]."""
    small = torch.nn.functional.adaptive_avg_pool2d(pixels[:, :3].float() / 255, THUMBNAIL_SIDE)
    return small.flatten(1)
