"""Near-duplicates: visually identical images, detected by a difference hash and confirmed by a thumbnail."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

THUMBNAIL_SIDE = 16
MAX_HASH_BITS = 6
"""Largest Hamming distance between the 64-bit difference hashes of near-duplicates."""
MAX_MEAN_DIFFERENCE = 2.0
"""Largest mean difference between the thumbnails of near-duplicates, in grey levels of 255."""
MAX_DIFFERENCE = 32
"""Largest difference of any thumbnail value, in grey levels: a small symbol on a large background is not noise."""
MAX_NEIGHBOURS = 1024
"""Each image is compared with at most this many images of the next higher brightness, which bounds the time."""


@dataclass(frozen=True)
class Signature:
    """A small fingerprint of an image's content."""

    difference_hash: int
    """64 bits: whether each of 8 x 8 cells is brighter than its right neighbour."""
    thumbnail: np.ndarray
    """uint8 (4, 16, 16): RGB over white, and alpha. Flat icons can share a hash, but not a thumbnail."""


def signature_of(pixels: np.ndarray) -> Signature:
    """The signature of one image, uint8 (3 or 4, height, width), resized to a square."""
    image = Image.fromarray(np.ascontiguousarray(pixels[:3].transpose(1, 2, 0)))
    grey = np.asarray(image.convert("L").resize((9, 8), Image.Resampling.BOX)).astype(np.int16)
    # The margin of two levels keeps compression noise from setting bits in flat regions.
    bits = np.packbits(grey[:, :-1] > grey[:, 1:] + 2)
    size = (THUMBNAIL_SIDE, THUMBNAIL_SIDE)
    thumbnail = np.full((4, *size), 255, np.uint8)
    thumbnail[:3] = np.asarray(image.resize(size, Image.Resampling.BOX)).transpose(2, 0, 1)
    if len(pixels) == 4:
        thumbnail[3] = np.asarray(Image.fromarray(pixels[3]).resize(size, Image.Resampling.BOX))
    return Signature(int.from_bytes(bits.tobytes(), "big"), thumbnail)


def near_duplicates(signatures: Sequence[Signature]) -> list[list[int]]:
    """Groups of indices of near-duplicates; each group is ascending, and groups are sorted by their first index."""
    if len(signatures) < 2:
        return []
    thumbnails = np.stack([signature.thumbnail.reshape(-1) for signature in signatures])
    hashes = np.array([signature.difference_hash for signature in signatures], dtype=np.uint64)
    # The mean difference of two thumbnails is at least their difference in mean brightness. So only neighbours in the
    # order of brightness are compared, vectorised over all pairs at the same distance in that order.
    means = thumbnails.mean(axis=1, dtype=np.float64)
    order = np.lexsort((hashes, means))
    means, hashes = means[order], hashes[order]
    labels = np.arange(len(signatures))
    pairs: list[tuple[int, int]] = []
    for step in range(1, min(MAX_NEIGHBOURS, len(signatures) - 1) + 1):
        near = means[step:] - means[:-step] <= MAX_MEAN_DIFFERENCE
        if not near.any():
            break
        similar = np.bitwise_count(hashes[step:] ^ hashes[:-step]) <= MAX_HASH_BITS
        candidates = np.flatnonzero(near & similar & (labels[step:] != labels[:-step]))
        for chunk in np.array_split(candidates, len(candidates) // 4096 + 1):
            same = _confirm(thumbnails[order[chunk]], thumbnails[order[chunk + step]])
            pairs.extend(zip(chunk[same].tolist(), (chunk[same] + step).tolist(), strict=True))
        if len(pairs) > 256:
            # Thousands of copies make millions of pairs: pairs within one group are not compared again.
            labels, pairs = _merge(labels, pairs), []
    labels = _merge(labels, pairs)
    members: dict[int, list[int]] = {}
    for position, label in enumerate(labels.tolist()):
        members.setdefault(label, []).append(int(order[position]))
    return sorted(sorted(group) for group in members.values() if len(group) > 1)


def _confirm(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    difference = np.abs(one.astype(np.int16) - other)
    return (difference.mean(axis=1) <= MAX_MEAN_DIFFERENCE) & (difference.max(axis=1, initial=0) <= MAX_DIFFERENCE)


def _merge(labels: np.ndarray, pairs: list[tuple[int, int]]) -> np.ndarray:
    return connected(len(labels), [*enumerate(labels.tolist()), *pairs])


def connected(num: int, pairs: Iterable[tuple[int, int]]) -> np.ndarray:
    """The smallest index in the component of each of ``num`` nodes, by union-find over ``pairs``: int64 (num,).

    >>> connected(4, [(0, 2), (2, 3)])
    array([0, 1, 0, 0])
    """
    parent = list(range(num))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    for one, other in pairs:
        low, high = sorted((root(one), root(other)))
        parent[high] = low
    return np.array([root(index) for index in range(num)], dtype=np.int64)
