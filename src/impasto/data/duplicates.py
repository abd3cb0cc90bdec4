"""Near-duplicates: images that look the same, found by a difference hash and confirmed by a thumbnail."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from impasto.data.groups import connected

THUMBNAIL_SIDE = 16
MAX_HASH_BITS = 6
"""Bits of 64 in which the difference hashes of near-duplicates may differ."""
MAX_MEAN_DIFFERENCE = 2.0
"""Levels of 255 by which their thumbnails may differ on average."""
MAX_DIFFERENCE = 32
"""Levels by which any value of their thumbnails may differ: a small sign on a large ground is not noise."""
MAX_NEIGHBOURS = 1024
"""Each image is compared with at most this many that are next brighter: linear time for any set."""


@dataclass(frozen=True)
class Signature:
    """What an image shows at a very small size."""

    difference_hash: int
    """64 bits: whether each cell of 8 x 8 is brighter than its neighbour to the right."""
    thumbnail: np.ndarray
    """uint8 (4, 16, 16): RGB over white, and alpha. Flat icons share a hash, but not a thumbnail."""


def signature_of(pixels: np.ndarray) -> Signature:
    """The signature of one image, uint8 (3 or 4, height, width), squeezed into a square."""
    image = Image.fromarray(np.ascontiguousarray(pixels[:3].transpose(1, 2, 0)))
    grey = np.asarray(image.convert("L").resize((9, 8), Image.Resampling.BOX)).astype(np.int16)
    # A margin of two levels, so that the noise of compression does not decide in flat parts.
    bits = np.packbits(grey[:, :-1] > grey[:, 1:] + 2)
    size = (THUMBNAIL_SIDE, THUMBNAIL_SIDE)
    thumbnail = np.full((4, *size), 255, np.uint8)
    thumbnail[:3] = np.asarray(image.resize(size, Image.Resampling.BOX)).transpose(2, 0, 1)
    if len(pixels) == 4:
        thumbnail[3] = np.asarray(Image.fromarray(pixels[3]).resize(size, Image.Resampling.BOX))
    return Signature(int.from_bytes(bits.tobytes(), "big"), thumbnail)


def near_duplicates(signatures: Sequence[Signature]) -> list[list[int]]:
    """Groups of indices of images that look the same, each group ascending, the groups by their first."""
    if len(signatures) < 2:
        return []
    thumbnails = np.stack([signature.thumbnail.reshape(-1) for signature in signatures])
    hashes = np.array([signature.difference_hash for signature in signatures], dtype=np.uint64)
    # Thumbnails that differ by little on average are as far apart in mean brightness at most, so only
    # neighbours in the order of brightness are compared, all at once for each distance in that order.
    means = thumbnails.mean(axis=1, dtype=np.float64)
    order = np.lexsort((hashes, means))
    means, hashes = means[order], hashes[order]
    labels = np.arange(len(signatures))
    pairs: list[tuple[int, int]] = []
    for step in range(1, min(MAX_NEIGHBOURS, len(signatures) - 1) + 1):
        near = means[step:] - means[:-step] <= MAX_MEAN_DIFFERENCE
        if not near.any():
            break
        alike = np.bitwise_count(hashes[step:] ^ hashes[:-step]) <= MAX_HASH_BITS
        found = np.flatnonzero(near & alike & (labels[step:] != labels[:-step]))
        for chunk in np.array_split(found, len(found) // 4096 + 1):
            same = _confirmed(thumbnails[order[chunk]], thumbnails[order[chunk + step]])
            pairs.extend(zip(chunk[same].tolist(), (chunk[same] + step).tolist(), strict=True))
        if len(pairs) > 256:
            # Thousands of copies make millions of pairs: what is joined already need not be compared.
            labels, pairs = _joined(labels, pairs), []
    labels = _joined(labels, pairs)
    members: dict[int, list[int]] = {}
    for position, label in enumerate(labels.tolist()):
        members.setdefault(label, []).append(int(order[position]))
    return sorted(sorted(group) for group in members.values() if len(group) > 1)


def _confirmed(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    difference = np.abs(one.astype(np.int16) - other)
    return (difference.mean(axis=1) <= MAX_MEAN_DIFFERENCE) & (difference.max(axis=1, initial=0) <= MAX_DIFFERENCE)


def _joined(labels: np.ndarray, pairs: list[tuple[int, int]]) -> np.ndarray:
    return connected(len(labels), [*enumerate(labels.tolist()), *pairs])
