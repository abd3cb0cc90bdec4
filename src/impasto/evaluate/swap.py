"""Quality of stylization between collections, on pairs of images of the same subject."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from impasto.backbone import feature_distance
from impasto.data import ImageSet
from impasto.evaluate.evaluator import BATCH, Evaluator
from impasto.model.blocks import Map

Stylize = Callable[[Map, np.ndarray, np.ndarray], Map]
"""From (content, collection of each target style, index of each content image) to images in [0, 1]."""


@dataclass(frozen=True)
class Pairs:
    """Pairs of held-out images of the same subject in two collections: indices into the image set."""

    content: np.ndarray
    target: np.ndarray


@dataclass(frozen=True)
class Swaps:
    """Feature distances to the target collection's own drawing, one per pair; lower is better."""

    stylized: Float[Tensor, " pair"]
    """The stylized content image."""
    copied: Float[Tensor, " pair"]
    """The unchanged content image."""
    other: Float[Tensor, " pair"]
    """The target collection's training image nearest to the content image, by pooled features."""
    reconstructed: Float[Tensor, " pair"]
    """The reconstruction of the target, which is about the best that this model can reach."""
    images: Float[Tensor, "pair channel height width"]
    """The stylized images."""


def held_out_pairs(images: ImageSet, max_pairs: int, seed: int) -> Pairs:
    """At most ``max_pairs`` pairs of held-out images with equal keys in different collections, drawn with ``seed``."""
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
    drawn = np.random.default_rng(seed).permutation(len(pairs))[:max_pairs]
    rows = np.array(pairs, np.int64).reshape(-1, 2)[np.sort(drawn)]
    return Pairs(rows[:, 0], rows[:, 1])


@torch.no_grad()
def swap(evaluator: Evaluator, pairs: Pairs, stylize: Stylize, reconstruct: Callable[[Map], Map]) -> Swaps:
    """Stylize the content of each pair in the style of the target's collection, and measure the distances."""
    images, backbone = evaluator.images, evaluator.backbone
    collections = images.collection_ids[evaluator.train_indices]
    parts: list[tuple[Tensor, ...]] = []
    for start in range(0, len(pairs.content), BATCH):
        rows = slice(start, start + BATCH)
        content, target = evaluator.batch(pairs.content[rows]), evaluator.batch(pairs.target[rows])
        target_collections = images.collection_ids[pairs.target[rows]]
        stylized = stylize(content, target_collections, pairs.content[rows])
        content_maps, pooled = backbone.maps_and_pooled(content)
        others = []
        for features, collection in zip(pooled.cpu(), target_collections, strict=True):
            members = np.flatnonzero(collections == collection)
            distance = (evaluator.train.pooled[torch.from_numpy(members)] - features).square().sum(1)
            others.append(evaluator.train_indices[members[int(distance.argmin())]])
        target_maps = backbone(target)
        other = evaluator.batch(np.array(others))
        candidates = (backbone(stylized), content_maps, backbone(other), backbone(reconstruct(target)))
        parts.append((*(feature_distance(maps, target_maps).cpu() for maps in candidates), stylized.cpu()))
    stylized, copied, other, reconstructed, outputs = (torch.cat(part) for part in zip(*parts, strict=True))
    return Swaps(stylized, copied, other, reconstructed, outputs)
