"""The cache of images at training size: a flat file of pixels, and an index that is written last."""

import contextlib
import dataclasses
import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from impasto.atomic import write_atomically, write_text_atomically
from impasto.config import Fit
from impasto.data.audit import Audit
from impasto.data.images import Entry, ImageSet
from impasto.data.source import Source

FORMAT_VERSION = 2
"""Increment it when pixels, split or index change: older caches are then not used."""
ENTRY_FIELDS = tuple(field.name for field in dataclasses.fields(Entry))
STALE_SECONDS = 24 * 3600
"""Older temporary files were left by killed runs and are deleted."""


@dataclasses.dataclass(frozen=True)
class Slot:
    """The two files of one source at one resolution and fit."""

    index: Path
    pixels: Path


def slot_for(cache: Path, source: Source, *, resolution: int, fit: Fit, zoom: float) -> Slot:
    """The files in ``cache`` for ``source``, whose names depend on all settings and on every file of the source."""
    parts = (FORMAT_VERSION, source.path.resolve(), source.stamp(), resolution, fit.value, zoom)
    text = "\0".join(map(str, parts)).encode("utf-8", "surrogateescape")
    name = f"images-{resolution}px-{hashlib.sha256(text).hexdigest()[:20]}"
    return Slot(cache / f"{name}.json", cache / f"{name}.pixels")


@dataclasses.dataclass(frozen=True)
class Index:
    """Everything about cached images except their pixels."""

    resolution: int
    channels: int
    entries: tuple[Entry, ...]
    places: list[tuple[int, int]]
    """For each entry, its offset in the file of pixels and its number of stored channels."""
    held_out: list[int]
    audit: Audit


def save(slot: Slot, write_pixels: Callable[[BinaryIO], Index]) -> None:
    """Write the pixels with ``write_pixels``, which returns their index, and then the index.

    The index is written last and holds the length of the pixels, so an interrupted run leaves no valid cache. Raises
    ImpastoError if the cache cannot be written.
    """
    indices: list[Index] = []

    def write(path: Path) -> None:
        with path.open("wb") as handle:
            indices.append(write_pixels(handle))

    _delete_stale(slot.index.parent)
    write_atomically(slot.pixels, write)
    (index,) = indices
    values = {
        "bytes": slot.pixels.stat().st_size,
        "resolution": index.resolution,
        "channels": index.channels,
        "entries": [[getattr(entry, name) for name in ENTRY_FIELDS] for entry in index.entries],
        "places": index.places,
        "held_out": index.held_out,
        "audit": index.audit.to_json(),
    }
    # Escaped to ASCII, because file names may not be valid Unicode.
    write_text_atomically(slot.index, json.dumps(values))


def load(slot: Slot) -> ImageSet | None:
    """The cached images, or None without a complete cache."""
    try:
        values = json.loads(slot.index.read_text(encoding="utf-8"))
        if slot.pixels.stat().st_size != values["bytes"]:
            return None
        return ImageSet(
            entries=tuple(Entry(*fields) for fields in values["entries"]),
            resolution=values["resolution"],
            channels=values["channels"],
            audit=Audit.from_json(values["audit"]),
            pixels=np.memmap(slot.pixels, dtype=np.uint8, mode="r"),
            places=np.array(values["places"], dtype=np.int64),
            held_out=np.array(values["held_out"], dtype=np.int64),
        )
    except (OSError, ValueError, KeyError, TypeError):
        # Missing, truncated or edited: the caller builds it again.
        return None


def _delete_stale(cache: Path) -> None:
    for path in cache.glob(".images-*"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > STALE_SECONDS:
                path.unlink()
