"""Pictures given by hand, to reconstruct them or to take their style: no cache and no split."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from impasto.config import Fit
from impasto.data.audit import reasons
from impasto.data.folder import SingleFile
from impasto.data.listing import list_source, open_source
from impasto.data.reading import read_members
from impasto.data.source import Member, Source
from impasto.errors import ImpastoError


@dataclass(frozen=True, eq=False)
class Loaded:
    """Pictures in memory."""

    pixels: np.ndarray = field(repr=False)
    """uint8 (n, channels, resolution, resolution), centred."""
    names: tuple[str, ...]
    """Inside their folder or archive; below the folder's own name when several were given."""
    skipped: dict[str, str]
    """Name to reason."""


def read_pictures(
    paths_or_folder: Path | Sequence[Path], *, resolution: int, channels: int, fit: Fit = Fit.AUTO
) -> Loaded:
    """Read files, folders and archives, in the order given and by name within each.

    With three channels, transparent pictures come over white; with four, opaque ones get an alpha of 255.
    Raises ImpastoError for a file given by name that cannot be read, and when nothing can be read at all.
    """
    paths = [paths_or_folder] if isinstance(paths_or_folder, Path) else list(paths_or_folder)
    pictures: list[tuple[str, np.ndarray]] = []
    skipped: dict[str, str] = {}
    for path in paths:
        source = open_source(path)
        prefix = f"{source.stem}/" if len(paths) > 1 and not isinstance(source, SingleFile) else ""
        with source:
            found, left_out = _read(source, resolution, channels, fit)
        if isinstance(source, SingleFile) and left_out:
            raise ImpastoError(f"{path}: {next(iter(left_out.values()))}.")
        pictures += [(prefix + name, pixels) for name, pixels in found]
        skipped |= {prefix + name: reason for name, reason in left_out.items()}
    if not pictures:
        given = ", ".join(map(str, paths)) or "an empty list"
        raise ImpastoError(f"there is no readable picture in {given}.{reasons(skipped)}")
    names, pixels = zip(*pictures, strict=True)
    return Loaded(np.stack(pixels), names, skipped)


def _read(
    source: Source, resolution: int, channels: int, fit: Fit
) -> tuple[list[tuple[str, np.ndarray]], dict[str, str]]:
    # A file given by name is tried whatever its suffix says.
    if isinstance(source, SingleFile):
        members, skipped = [item for item in source.members() if isinstance(item, Member)], {}
    else:
        listing = list_source(source)
        members, skipped = listing.pictures, dict(listing.skipped)
    found = []
    for reading in read_members(source, members, resolution=resolution, fit=fit):
        if reading.picture is None:
            skipped[reading.name] = reading.reason
        else:
            found.append((reading.name, _square(reading.picture.pixels, resolution, channels)))
    return sorted(found, key=lambda pair: pair[0]), skipped


def _square(pixels: np.ndarray, resolution: int, channels: int) -> np.ndarray:
    """The centre of one picture, with ``channels`` channels."""
    top, left = ((side - resolution) // 2 for side in pixels.shape[1:])
    square = np.full((channels, resolution, resolution), 255, np.uint8)
    kept = min(channels, len(pixels))
    square[:kept] = pixels[:kept, top : top + resolution, left : left + resolution]
    return square
