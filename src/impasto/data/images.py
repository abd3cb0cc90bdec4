"""A set of images at training size, from which batches are cut."""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from impasto.data.audit import Audit


@dataclass(frozen=True)
class Entry:
    """One image of a set."""

    name: str
    """Path inside the folder or archive, with forward slashes."""
    collection: str
    text: str | None
    key: str | None
    """Images of the same thing in several collections share a key."""
    content_hash: str
    """SHA-256 of the file, as hexadecimal digits."""
    height: int
    """As kept: the training size, or more where squares are cut from it."""
    width: int


@dataclass(frozen=True, eq=False)
class ImageSet:
    """All images of a folder or archive, split into those to train on and those to measure on."""

    entries: tuple[Entry, ...]
    """By name, as far as they were read together."""
    resolution: int
    channels: int
    """3 (RGB), or 4 (RGB over white, and alpha) when any image has alpha."""
    audit: Audit
    pixels: np.ndarray = field(repr=False)
    """uint8, flat: each image as (channels, height, width), opaque ones with three channels."""
    places: np.ndarray = field(repr=False)
    """int64 (n, 2): where each image starts in ``pixels``, and its stored channels."""
    held_out: np.ndarray = field(repr=False)
    """int64, ascending indices of the images to measure on."""
    train: np.ndarray = field(init=False, repr=False)
    """int64, ascending indices of the images to train on."""
    collections: tuple[str, ...] = field(init=False)
    """Names, sorted."""
    collection_ids: np.ndarray = field(init=False, repr=False)
    """int64 (n,), indices into ``collections``."""
    key_ids: np.ndarray = field(init=False, repr=False)
    """int64 (n,): images with the same key have the same id; -1 without a key."""
    sides: np.ndarray = field(init=False, repr=False)
    """int64 (n, 2): height and width as kept."""

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
        """Images as uint8 (n, channels, resolution, resolution).

        Where an image is longer than its square, the square is drawn by ``rng``, or centred without one.
        Two numbers are drawn for every image, so what it gets depends on its place in the batch alone.
        """
        chosen = np.asarray(indices, dtype=np.int64)
        slack = self.sides[chosen] - self.resolution
        corners = slack // 2 if rng is None else rng.integers(0, slack, endpoint=True)
        result = np.full((len(chosen), self.channels, self.resolution, self.resolution), 255, np.uint8)
        for row, index, (top, left) in zip(result, chosen.tolist(), corners.tolist(), strict=True):
            start, channels = self.places[index].tolist()
            height, width = self.sides[index].tolist()
            image = self.pixels[start : start + channels * height * width].reshape(channels, height, width)
            kept = min(channels, self.channels)
            row[:kept] = image[:kept, top : top + self.resolution, left : left + self.resolution]
        return result

    def with_more(self, entries: Sequence[Entry], pixels: np.ndarray) -> "ImageSet":
        """The same set with more images to train on: uint8 (n, channels, resolution, resolution), one an entry."""
        starts = len(self.pixels) + np.arange(len(pixels)) * pixels[0].size
        channels = np.full_like(starts, pixels.shape[1])
        return dataclasses.replace(
            self,
            entries=(*self.entries, *entries),
            pixels=np.concatenate([self.pixels, pixels.ravel()]),
            places=np.concatenate([self.places, np.stack([starts, channels], 1)]),
        )


def spread(indices: np.ndarray, max_count: int) -> np.ndarray:
    """At most so many, evenly from all."""
    return indices[:: max(1, -(-len(indices) // max_count))]


def _int64(values: Iterable[int]) -> np.ndarray:
    return np.fromiter(values, dtype=np.int64)
