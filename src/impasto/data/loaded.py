"""Images given by hand, to reconstruct them or to take their style: no cache and no split."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from impasto.config import Fit
from impasto.data.audit import reasons
from impasto.data.decode import Decoded, decode, decode_whole
from impasto.data.folder import SingleFile
from impasto.data.listing import list_source, open_source
from impasto.data.reading import read_members
from impasto.data.source import Member, Source
from impasto.errors import ImpastoError


@dataclass(frozen=True, eq=False)
class Loaded:
    """Images in memory."""

    pixels: np.ndarray = field(repr=False)
    """uint8 (n, channels, resolution, resolution), centred."""
    names: tuple[str, ...]
    """Inside their folder or archive; below the folder's own name when several were given."""
    skipped: dict[str, str]
    """Name to reason."""


def read_images(
    paths_or_folder: Path | Sequence[Path], *, resolution: int, channels: int, fit: Fit = Fit.AUTO
) -> Loaded:
    """Read files, folders and archives, in the order given and by name within each.

    With three channels, transparent images come over white; with four, opaque ones get an alpha of 255.
    Raises ImpastoError for a file given by name that cannot be read, and when nothing can be read at all.
    """
    paths = [paths_or_folder] if isinstance(paths_or_folder, Path) else list(paths_or_folder)
    images: list[tuple[str, np.ndarray]] = []
    skipped: dict[str, str] = {}
    for path in paths:
        source = open_source(path)
        prefix = f"{source.stem}/" if len(paths) > 1 and not isinstance(source, SingleFile) else ""
        with source:
            found, left_out = _read(source, resolution, channels, fit)
        if isinstance(source, SingleFile) and left_out:
            raise ImpastoError(f"{path}: {next(iter(left_out.values()))}.")
        images += [(prefix + name, pixels) for name, pixels in found]
        skipped |= {prefix + name: reason for name, reason in left_out.items()}
    if not images:
        given = ", ".join(map(str, paths)) or "an empty list"
        raise ImpastoError(f"there is no readable image in {given}.{reasons(skipped)}")
    names, pixels = zip(*images, strict=True)
    return Loaded(np.stack(pixels), names, skipped)


@dataclass(frozen=True, eq=False)
class Whole:
    """One image at its own size."""

    name: str
    """Inside its folder or archive."""
    content_hash: str
    """SHA-256 of the file."""
    given: str
    """Where it is: the path as it was given, of an image in a folder with its name."""
    pixels: np.ndarray = field(repr=False)
    """uint8 (channels, height, width): RGB over white, and alpha."""


class WholeImages:
    """The images of a file, a folder or an archive at their own sizes, read one after the other."""

    def __init__(self, path: Path, *, max_side: int, channels: int) -> None:
        """``max_side`` pixels along the longer side: larger images are scaled down.

        With three channels, transparent images come over white; with four, opaque ones get an alpha of 255. Raises
        ImpastoError where there is no image.
        """
        self.path, self.max_side, self.channels = path, max_side, channels
        self.source = open_source(path)
        with self.source:
            self._members, self.skipped = _members(self.source)
        if not self._members:
            raise ImpastoError(f"there is no readable image in {path}.{reasons(self.skipped)}")

    def __len__(self) -> int:
        return len(self._members)

    @property
    def names(self) -> list[str]:
        """Of all images, readable or not, in the order in which they come."""
        return [member.name for member in self._members]

    def __iter__(self) -> Iterator[Whole]:
        """The images; what cannot be read is left out, and named in ``skipped`` with the reason.

        Raises ImpastoError for a file given by name that cannot be read.
        """
        with self.source:
            for reading in read_members(self.source, self._members, partial(decode_whole, max_side=self.max_side)):
                if reading.image is not None:
                    given = str(self.path if isinstance(self.source, SingleFile) else self.path / reading.name)
                    pixels = _with_channels(reading.image, self.channels)
                    yield Whole(reading.name, reading.content_hash, given, pixels)
                elif isinstance(self.source, SingleFile):
                    raise ImpastoError(f"{self.path}: {reading.reason}.")
                else:
                    self.skipped[reading.name] = reading.reason


def _members(source: Source) -> tuple[list[Member], dict[str, str]]:
    """The images of an open source, and what is left out with the reason."""
    # A file given by name is tried whatever its suffix says.
    if isinstance(source, SingleFile):
        return [item for item in source.members() if isinstance(item, Member)], {}
    listing = list_source(source)
    return listing.images, dict(listing.skipped)


def _read(
    source: Source, resolution: int, channels: int, fit: Fit
) -> tuple[list[tuple[str, np.ndarray]], dict[str, str]]:
    members, skipped = _members(source)
    found = []
    for reading in read_members(source, members, partial(decode, resolution=resolution, fit=fit)):
        if reading.image is None:
            skipped[reading.name] = reading.reason
        else:
            found.append((reading.name, _square(reading.image, resolution, channels)))
    return sorted(found, key=lambda pair: pair[0]), skipped


def _square(image: Decoded, resolution: int, channels: int) -> np.ndarray:
    """The centre of one image, with ``channels`` channels."""
    top, left = ((side - resolution) // 2 for side in image.pixels.shape[1:])
    return _with_channels(image, channels)[:, top : top + resolution, left : left + resolution]


def _with_channels(image: Decoded, channels: int) -> np.ndarray:
    """The pixels without alpha, or with one of 255 where there is none."""
    pixels = image.pixels[:channels]
    missing = channels - len(pixels)
    return np.concatenate([pixels, np.full((missing, *pixels.shape[1:]), 255, np.uint8)]) if missing else pixels
