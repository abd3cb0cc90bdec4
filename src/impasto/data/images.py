"""A set of images at training size, and its batches."""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from impasto.config import Augment
from impasto.data.audit import Audit
from impasto.data.augment import augmented


@dataclass(frozen=True)
class Entry:
    """One image of a set."""

    name: str
    """Path inside the folder or archive, with forward slashes."""
    collection: str
    text: str | None
    key: str | None
    """Images of one subject in several collections share a key."""
    content_hash: str
    """SHA-256 of the file, as hexadecimal digits."""
    height: int
    """Pixels in the cache: the training resolution, or more for images that are cropped at random."""
    width: int


@dataclass(frozen=True, eq=False)
class ImageSet:
    """All images of a folder or archive, split into training images and held-out images."""

    entries: tuple[Entry, ...]
    """Sorted by name; images added by `with_more` follow."""
    resolution: int
    channels: int
    """3 (RGB), or 4 (RGB over white, and alpha) when any image has alpha."""
    audit: Audit
    pixels: np.ndarray = field(repr=False)
    """uint8, flat: each image as (channels, height, width); opaque images have three channels."""
    places: np.ndarray = field(repr=False)
    """int64 (n, 2): offset of each image in ``pixels``, and its number of stored channels."""
    held_out: np.ndarray = field(repr=False)
    """int64, ascending indices of the held-out images."""
    augment: tuple[Augment, ...] = ()
    """How `batch` varies images at random."""
    train: np.ndarray = field(init=False, repr=False)
    """int64, ascending indices of the training images."""
    collections: tuple[str, ...] = field(init=False)
    """Names, sorted."""
    collection_ids: np.ndarray = field(init=False, repr=False)
    """int64 (n,), indices into ``collections``."""
    key_ids: np.ndarray = field(init=False, repr=False)
    """int64 (n,): images with the same key have the same id; -1 without a key."""
    sides: np.ndarray = field(init=False, repr=False)
    """int64 (n, 2): height and width in the cache, in pixels."""

    def __post_init__(self) -> None:
        names = sorted({entry.collection for entry in self.entries})
        keys = sorted({entry.key for entry in self.entries if entry.key is not None})
        name_ids = {name: index for index, name in enumerate(names)}
        key_ids: dict[str | None, int] = {key: index for index, key in enumerate(keys)}
        derived = {
            "train": np.setdiff1d(np.arange(len(self.entries), dtype=np.int64), self.held_out),
            "collections": tuple(names),
            "collection_ids": _int64(name_ids[entry.collection] for entry in self.entries),
            "key_ids": _int64(key_ids.get(entry.key, -1) for entry in self.entries),
            "sides": _int64(side for entry in self.entries for side in (entry.height, entry.width)).reshape(-1, 2),
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.entries)

    def batch(self, indices: Sequence[int] | np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        """The images of ``indices`` as uint8 (n, channels, resolution, resolution).

        Larger images are cropped: at random with ``rng``, else at the centre. With ``rng`` images are varied as
        `augment` says, too.
        """
        rows = np.asarray(indices, dtype=np.int64)
        slack = self.sides[rows] - self.resolution
        corners = slack // 2 if rng is None else rng.integers(0, slack, endpoint=True)
        result = np.full((len(rows), self.channels, self.resolution, self.resolution), 255, np.uint8)
        for row, index, (top, left) in zip(result, rows.tolist(), corners.tolist(), strict=True):
            start, channels = self.places[index].tolist()
            height, width = self.sides[index].tolist()
            image = self.pixels[start : start + channels * height * width].reshape(channels, height, width)
            shared = min(channels, self.channels)
            row[:shared] = image[:shared, top : top + self.resolution, left : left + self.resolution]
        return augmented(result, rng, self.augment) if rng is not None and self.augment else result

    def with_more(self, entries: Sequence[Entry], pixels: np.ndarray) -> "ImageSet":
        """The set with more training images: uint8 (n, channels, resolution, resolution), one for each entry."""
        starts = len(self.pixels) + np.arange(len(pixels)) * pixels[0].size
        channels = np.full_like(starts, pixels.shape[1])
        return dataclasses.replace(
            self,
            entries=(*self.entries, *entries),
            pixels=np.concatenate([self.pixels, pixels.ravel()]),
            places=np.concatenate([self.places, np.stack([starts, channels], 1)]),
        )


def evenly_spaced(indices: np.ndarray, max_count: int) -> np.ndarray:
    """At most ``max_count`` of ``indices``, evenly spaced.

    >>> evenly_spaced(np.arange(10), 4)
    array([0, 3, 6, 9])
    """
    return indices[:: max(1, -(-len(indices) // max_count))]


def _int64(values: Iterable[int]) -> np.ndarray:
    return np.fromiter(values, dtype=np.int64)
