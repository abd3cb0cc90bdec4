"""From a folder or archive of pictures to a set that is ready for training."""

import dataclasses
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np

from impasto.config import Fit
from impasto.data import cache as caches
from impasto.data.audit import Audit, Size, reasons
from impasto.data.cache import Index
from impasto.data.decode import decode, pads
from impasto.data.duplicates import Look, look_of, near_duplicates
from impasto.data.folder import SingleFile
from impasto.data.listing import collections_of, list_source, open_source
from impasto.data.metadata import Description, read_metadata
from impasto.data.pictures import Entry, PictureSet
from impasto.data.reading import Progress, read_members
from impasto.data.source import Source
from impasto.data.split import split
from impasto.errors import ImpastoError

READ = "PNG, JPEG, WebP, AVIF, BMP, GIF and TIFF"


def prepare(
    pictures: Path,
    *,
    resolution: int,
    fit: Fit = Fit.AUTO,
    zoom: float = 1.0,
    cache: Path,
    progress: Progress | None = None,
) -> PictureSet:
    """Read every picture of a folder, .zip or .tar once; later calls open the cache.

    Pictures that are cropped are kept up to ``zoom`` times as large as a square, as far as their files go.
    ``progress`` is called with (done, total) while pictures are decoded. What cannot be used is left out and
    named in the audit. Raises ImpastoError when there is nothing to read, when fewer than two pictures
    remain, or when metadata is broken.
    """
    source = open_source(pictures, exclude=cache)
    if isinstance(source, SingleFile):
        raise ImpastoError(f"{pictures} is neither a folder nor a .zip or .tar. Put the pictures into a folder.")
    slot = caches.slot_for(cache, source, resolution=resolution, fit=fit, zoom=zoom)
    if (cached := caches.load(slot)) is not None:
        return cached
    with source:
        caches.save(slot, lambda handle: _build(source, handle, resolution, fit, zoom, progress))
    made = caches.load(slot)
    if made is None:
        raise ImpastoError(f"the cache {slot.index} cannot be read back. Check the disk, or choose another.")
    return made


@dataclass(frozen=True)
class _Stored:
    """One picture whose pixels are written: what the index and the audit need of it."""

    name: str
    content_hash: str
    start: int
    shape: tuple[int, int, int]
    """Channels, height, width as kept."""
    size: Size
    """Width and height of the file."""
    look: Look


def _build(
    source: Source, pixels: BinaryIO, resolution: int, fit: Fit, zoom: float, progress: Progress | None
) -> Index:
    listing = list_source(source)
    described, missing = read_metadata(source, listing)
    stored: list[_Stored] = []
    skipped = dict(listing.skipped)
    read = partial(decode, resolution=resolution, fit=fit, zoom=zoom)
    for reading in read_members(source, listing.pictures, read, progress):
        if reading.picture is None:
            skipped[reading.name] = reading.reason
            continue
        picture = reading.picture
        size = (picture.source_width, picture.source_height)
        start, shape = pixels.tell(), picture.pixels.shape
        stored.append(_Stored(reading.name, reading.content_hash, start, shape, size, look_of(picture.pixels)))
        pixels.write(picture.pixels.data)
    skipped |= missing
    if len(stored) < 2:
        raise ImpastoError(_too_few(source, len(stored), skipped))
    # Archives list their members in any order; by name, the set is the same as from a folder.
    stored.sort(key=lambda picture: picture.name)
    collections = collections_of(source, listing)
    entries = tuple(
        _entry(picture, described.get(picture.name, Description()), collections[picture.name]) for picture in stored
    )
    held_out = split([entry.content_hash for entry in entries], [entry.key for entry in entries])
    audit = _audit(stored, entries, resolution, fit)
    return Index(
        resolution=resolution,
        channels=audit.channels,
        entries=entries,
        places=[(picture.start, picture.shape[0]) for picture in stored],
        held_out=np.flatnonzero(held_out).tolist(),
        audit=dataclasses.replace(
            audit,
            source=str(source.path),
            train=int((~held_out).sum()),
            held_out=int(held_out.sum()),
            skipped=dict(sorted(skipped.items())),
            not_pictures=dict(sorted(listing.not_pictures.items())),
        ),
    )


def _entry(picture: _Stored, description: Description, collection: str) -> Entry:
    _, height, width = picture.shape
    return Entry(
        name=picture.name,
        collection=description.collection or collection,
        text=description.text,
        key=description.key,
        content_hash=picture.content_hash,
        height=height,
        width=width,
    )


def _audit(stored: list[_Stored], entries: tuple[Entry, ...], resolution: int, fit: Fit) -> Audit:
    """The audit of the pictures themselves; where they came from and the split are filled in later."""
    sizes = sorted((picture.size for picture in stored), key=lambda size: (size[0] * size[1], size))
    with_alpha = sum(picture.shape[0] == 4 for picture in stored)
    uneven = [picture for picture in stored if picture.size[0] != picture.size[1]]
    num_padded = sum(pads(fit, has_alpha=picture.shape[0] == 4) for picture in uneven)
    return Audit(
        source="",
        pictures=len(stored),
        collections=dict(sorted(Counter(entry.collection for entry in entries).items())),
        with_text=sum(entry.text is not None for entry in entries),
        keys=len({entry.key for entry in entries} - {None}),
        smallest=sizes[0],
        median=sizes[len(sizes) // 2],
        largest=sizes[-1],
        enlarged=sum(
            (max if pads(fit, has_alpha=picture.shape[0] == 4) else min)(picture.size) < resolution
            for picture in stored
        ),
        with_alpha=with_alpha,
        channels=4 if with_alpha else 3,
        resolution=resolution,
        fit=fit,
        padded=num_padded,
        cropped=len(uneven) - num_padded,
        train=0,
        held_out=0,
        skipped={},
        not_pictures={},
        duplicate_groups=tuple(
            tuple(entries[index].name for index in group)
            for group in near_duplicates([picture.look for picture in stored])
        ),
    )


def _too_few(source: Source, num_found: int, skipped: dict[str, str]) -> str:
    found = "only one readable picture" if num_found else "no readable picture"
    advice = "Training needs at least 2, and better 100 or more" if num_found else f"These are read: {READ}"
    return f"{source.path} has {found}. {advice}.{reasons(skipped)}"
