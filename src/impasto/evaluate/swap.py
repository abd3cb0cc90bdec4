"""How well an image is redrawn in another collection's style, where that collection has drawn the same thing."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from impasto.backbone import feature_distance
from impasto.data import ImageSet
from impasto.evaluate.judge import BATCH, Judge
from impasto.model.blocks import Map

Redraw = Callable[[Map, np.ndarray, np.ndarray], Map]
"""(content, the collection whose style each is wanted in, the number of each content image) to images in [0, 1]."""


@dataclass(frozen=True)
class Pairs:
    """The same thing in two collections, both held out: indices into the image set."""

    content: np.ndarray
    target: np.ndarray


@dataclass(frozen=True)
class Swaps:
    """Feature distances to the target collection's own drawing, one per pair; lower is nearer."""

    redrawn: Float[Tensor, " pair"]
    copied: Float[Tensor, " pair"]
    """The content image as it is."""
    other: Float[Tensor, " pair"]
    """The target collection's training image that is nearest to the content image."""
    reconstructed: Float[Tensor, " pair"]
    """The target itself through the autoencoder: as near as this model can come."""
    images: Float[Tensor, "pair channel height width"]
    """What was redrawn."""


def held_out_pairs(images: ImageSet, most: int, seed: int) -> Pairs:
    """Up to ``most`` pairs of held-out images with one key in two collections, drawn by ``seed``."""
    by_key: dict[int, list[int]] = {}
    for index in images.held_out.tolist():
        if (key := int(images.key_ids[index])) >= 0:
            by_key.setdefault(key, []).append(index)
    pairs = [
        (a, b)
        for group in by_key.values()
        for a in group
        for b in group
        if images.collection_ids[a] != images.collection_ids[b]
    ]
    chosen = np.random.default_rng(seed).permutation(len(pairs))[:most]
    found = np.array(pairs, np.int64).reshape(-1, 2)[np.sort(chosen)]
    return Pairs(found[:, 0], found[:, 1])


@torch.no_grad()
def swap(judge: Judge, pairs: Pairs, redraw: Redraw, reconstruct: Callable[[Map], Map]) -> Swaps:
    """Redraw the content of each pair in the style of the target's collection, and measure."""
    images, backbone = judge.images, judge.backbone
    collections = images.collection_ids[judge.train_indices]
    parts: list[tuple[Tensor, ...]] = []
    for start in range(0, len(pairs.content), BATCH):
        rows = slice(start, start + BATCH)
        content, target = judge.batch(pairs.content[rows]), judge.batch(pairs.target[rows])
        wanted = images.collection_ids[pairs.target[rows]]
        redrawn = redraw(content, wanted, pairs.content[rows])
        content_maps, looks = backbone.look(content)
        others = []
        for features, collection in zip(looks.cpu(), wanted, strict=True):
            members = np.flatnonzero(collections == collection)
            distance = (judge.train.pooled[torch.from_numpy(members)] - features).square().sum(1)
            others.append(judge.train_indices[members[int(distance.argmin())]])
        target_maps = backbone(target)
        other = judge.batch(np.array(others))
        candidates = (backbone(redrawn), content_maps, backbone(other), backbone(reconstruct(target)))
        parts.append((*(feature_distance(maps, target_maps).cpu() for maps in candidates), redrawn.cpu()))
    redrawn, copied, other, reconstructed, painted = (torch.cat(part) for part in zip(*parts, strict=True))
    return Swaps(redrawn, copied, other, reconstructed, painted)
