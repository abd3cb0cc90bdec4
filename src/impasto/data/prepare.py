"""From a folder or archive of images to a set for training."""

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
from impasto.data.duplicates import Signature, near_duplicates, signature_of
from impasto.data.folder import SingleFile
from impasto.data.images import Entry, ImageSet
from impasto.data.listing import collections_of, list_source, open_source
from impasto.data.metadata import Description, read_metadata
from impasto.data.reading import Progress, read_members
from impasto.data.source import Source
from impasto.data.split import split
from impasto.errors import ImpastoError

READABLE = "PNG, JPEG, WebP, AVIF, BMP, GIF and TIFF"


def prepare(
    images: Path,
    *,
    resolution: int,
    fit: Fit = Fit.AUTO,
    zoom: float = 1.0,
    cache: Path,
    progress: Progress | None = None,
) -> ImageSet:
    """Read all images of a folder, .zip or .tar; later calls use the cache.

    Images that are cropped are cached at up to ``zoom`` times the resolution, without enlarging them. ``progress`` is
    called with (files done, files in total) during decoding. Files that cannot be used are skipped and listed in the
    audit. Raises ImpastoError if the source cannot be read, for fewer than two images, and for invalid metadata.
    """
    source = open_source(images, exclude=cache)
    if isinstance(source, SingleFile):
        raise ImpastoError(f"{images} is neither a folder nor a .zip or .tar. Put the images into a folder.")
    slot = caches.slot_for(cache, source, resolution=resolution, fit=fit, zoom=zoom)
    if (cached := caches.load(slot)) is not None:
        return cached
    with source:
        caches.save(slot, lambda handle: _build(source, handle, resolution, fit, zoom, progress))
    prepared = caches.load(slot)
    if prepared is None:
        raise ImpastoError(
            f"the cache {slot.index} cannot be read back. Check the disk, or use another folder for the cache."
        )
    return prepared


@dataclass(frozen=True)
class _Stored:
    """An image whose pixels are written: its data for the index and the audit."""

    name: str
    content_hash: str
    start: int
    shape: tuple[int, int, int]
    """Channels, height and width in the cache."""
    size: Size
    """Width and height of the file, in pixels."""
    signature: Signature


def _build(
    source: Source, pixels: BinaryIO, resolution: int, fit: Fit, zoom: float, progress: Progress | None
) -> Index:
    listing = list_source(source)
    descriptions, missing = read_metadata(source, listing)
    stored: list[_Stored] = []
    skipped = dict(listing.skipped)
    read = partial(decode, resolution=resolution, fit=fit, zoom=zoom)
    for reading in read_members(source, listing.images, read, progress):
        if reading.image is None:
            skipped[reading.name] = reading.reason
            continue
        image = reading.image
        size = (image.source_width, image.source_height)
        start, shape = pixels.tell(), image.pixels.shape
        stored.append(_Stored(reading.name, reading.content_hash, start, shape, size, signature_of(image.pixels)))
        pixels.write(image.pixels.data)
    skipped |= missing
    if len(stored) < 2:
        raise ImpastoError(_too_few(source, len(stored), skipped))
    # Sorted by name, the set from an archive equals that from a folder.
    stored.sort(key=lambda image: image.name)
    collections = collections_of(source, listing)
    entries = tuple(
        _entry(image, descriptions.get(image.name, Description()), collections[image.name]) for image in stored
    )
    held_out = split([entry.content_hash for entry in entries], [entry.key for entry in entries])
    audit = _audit(stored, entries, resolution, fit)
    return Index(
        resolution=resolution,
        channels=audit.channels,
        entries=entries,
        places=[(image.start, image.shape[0]) for image in stored],
        held_out=np.flatnonzero(held_out).tolist(),
        audit=dataclasses.replace(
            audit,
            source=str(source.path),
            train=int((~held_out).sum()),
            held_out=int(held_out.sum()),
            skipped=dict(sorted(skipped.items())),
            not_images=dict(sorted(listing.not_images.items())),
        ),
    )


def _entry(image: _Stored, description: Description, collection: str) -> Entry:
    _, height, width = image.shape
    return Entry(
        name=image.name,
        collection=description.collection or collection,
        text=description.text,
        key=description.key,
        content_hash=image.content_hash,
        height=height,
        width=width,
    )


def _audit(stored: list[_Stored], entries: tuple[Entry, ...], resolution: int, fit: Fit) -> Audit:
    """The audit of the images; the caller adds the source, the split and the skipped files."""
    sizes = sorted((image.size for image in stored), key=lambda size: (size[0] * size[1], size))
    with_alpha = sum(image.shape[0] == 4 for image in stored)
    not_square = [image for image in stored if image.size[0] != image.size[1]]
    num_padded = sum(pads(fit, has_alpha=image.shape[0] == 4) for image in not_square)
    return Audit(
        source="",
        images=len(stored),
        collections=dict(sorted(Counter(entry.collection for entry in entries).items())),
        with_text=sum(entry.text is not None for entry in entries),
        keys=len({entry.key for entry in entries} - {None}),
        smallest=sizes[0],
        median=sizes[len(sizes) // 2],
        largest=sizes[-1],
        enlarged=sum(
            (max if pads(fit, has_alpha=image.shape[0] == 4) else min)(image.size) < resolution for image in stored
        ),
        with_alpha=with_alpha,
        channels=4 if with_alpha else 3,
        resolution=resolution,
        fit=fit,
        padded=num_padded,
        cropped=len(not_square) - num_padded,
        train=0,
        held_out=0,
        skipped={},
        not_images={},
        duplicate_groups=tuple(
            tuple(entries[index].name for index in group)
            for group in near_duplicates([image.signature for image in stored])
        ),
    )


def _too_few(source: Source, num_readable: int, skipped: dict[str, str]) -> str:
    readable = "only one readable image" if num_readable else "no readable image"
    advice = (
        "Training needs at least 2, preferably 100 or more" if num_readable else f"Supported formats are {READABLE}"
    )
    return f"{source.path} has {readable}. {advice}.{reasons(skipped)}"
