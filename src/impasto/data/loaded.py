"""Images for inference, read without a cache or a split: of files, folders, archives and in memory."""

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
from impasto.references import Location, MemoryImage


@dataclass(frozen=True, eq=False)
class Loaded:
    """Images in memory."""

    pixels: np.ndarray = field(repr=False)
    """uint8 (n, channels, resolution, resolution), cropped at the centre."""
    names: tuple[str, ...]
    """Paths inside their folder or archive; with several paths, prefixed by the folder's name."""
    skipped: dict[str, str]
    """The reason for each file name."""


class InMemory(SingleFile):
    """An image in memory, as a source with one member; its name is the text that refers to it."""

    def __init__(self, image: MemoryImage) -> None:
        super().__init__(Path(image))
        self._image = image

    def members(self) -> Iterator[Member | tuple[str, str]]:
        """Yield the image."""
        yield Member(str(self._image), len(self._image.data))

    def read(self, member: Member) -> bytes:
        """The image as a file."""
        return self._image.data


def read_images(
    paths_or_folder: Location | Sequence[Location], *, resolution: int, channels: int, fit: Fit = Fit.AUTO
) -> Loaded:
    """Read files, folders, archives and images in memory, in this order and sorted by name within each.

    With three channels, transparent images are composited over white; with four, opaque images get an alpha of 255.
    Raises ImpastoError if a single file cannot be read, and if there is no readable image at all.
    """
    paths = [paths_or_folder] if isinstance(paths_or_folder, (Path, MemoryImage)) else list(paths_or_folder)
    images: list[tuple[str, np.ndarray]] = []
    skipped: dict[str, str] = {}
    for path in paths:
        source = _open(path)
        prefix = f"{source.stem}/" if len(paths) > 1 and not isinstance(source, SingleFile) else ""
        with source:
            named_pixels, unreadable = _read(source, resolution, channels, fit)
        if isinstance(source, SingleFile) and unreadable:
            raise ImpastoError(f"{path}: {next(iter(unreadable.values()))}.")
        images += [(prefix + name, pixels) for name, pixels in named_pixels]
        skipped |= {prefix + name: reason for name, reason in unreadable.items()}
    if not images:
        listed = ", ".join(map(str, paths)) or "an empty list"
        raise ImpastoError(f"there is no readable image in {listed}.{reasons(skipped)}")
    names, pixels = zip(*images, strict=True)
    return Loaded(np.stack(pixels), names, skipped)


@dataclass(frozen=True, eq=False)
class Whole:
    """One image at its own size."""

    name: str
    """Path inside its folder or archive."""
    content_hash: str
    """SHA-256 of the file."""
    path: str
    """The path of the file; for an image in an archive, the path of the archive and the name within it. A MemoryImage
    for an image in memory."""
    pixels: np.ndarray = field(repr=False)
    """uint8 (channels, height, width): RGB over white, and alpha."""


class WholeImages:
    """The images of a file, a folder or an archive, or one in memory, at their own sizes, read one at a time."""

    def __init__(self, path: Location, *, max_side: int, channels: int) -> None:
        """Images with a longer side above ``max_side`` pixels are scaled down.

        With three channels, transparent images are composited over white; with four, opaque images get an alpha of 255.
        Raises ImpastoError if there is no image.
        """
        self.path, self.max_side, self.channels = path, max_side, channels
        self.source = _open(path)
        with self.source:
            self._members, self.skipped = _members(self.source)
        if not self._members:
            raise ImpastoError(f"there is no readable image in {path}.{reasons(self.skipped)}")

    def __len__(self) -> int:
        return len(self._members)

    @property
    def names(self) -> list[str]:
        """Names of all images, readable or not, in their order."""
        return [member.name for member in self._members]

    def __iter__(self) -> Iterator[Whole]:
        """Yield the images; unreadable files are skipped, with their reason in ``skipped``.

        Raises ImpastoError if a single file cannot be read.
        """
        with self.source:
            for reading in read_members(self.source, self._members, partial(decode_whole, max_side=self.max_side)):
                if reading.image is not None:
                    path = self._path_of(reading.name)
                    pixels = _with_channels(reading.image, self.channels)
                    yield Whole(reading.name, reading.content_hash, path, pixels)
                elif isinstance(self.source, SingleFile):
                    raise ImpastoError(f"{self.path}: {reading.reason}.")
                else:
                    self.skipped[reading.name] = reading.reason

    def _path_of(self, name: str) -> str:
        if isinstance(self.path, MemoryImage):
            return self.path
        return str(self.path if isinstance(self.source, SingleFile) else self.path / name)


def _open(path: Location) -> Source:
    return InMemory(path) if isinstance(path, MemoryImage) else open_source(path)


def _members(source: Source) -> tuple[list[Member], dict[str, str]]:
    """The images of an open source, and the reasons for skipped files."""
    # A single file is tried regardless of its suffix.
    if isinstance(source, SingleFile):
        return [item for item in source.members() if isinstance(item, Member)], {}
    listing = list_source(source)
    return listing.images, dict(listing.skipped)


def _read(
    source: Source, resolution: int, channels: int, fit: Fit
) -> tuple[list[tuple[str, np.ndarray]], dict[str, str]]:
    members, skipped = _members(source)
    images = []
    for reading in read_members(source, members, partial(decode, resolution=resolution, fit=fit)):
        if reading.image is None:
            skipped[reading.name] = reading.reason
        else:
            images.append((reading.name, _square(reading.image, resolution, channels)))
    return sorted(images, key=lambda pair: pair[0]), skipped


def _square(image: Decoded, resolution: int, channels: int) -> np.ndarray:
    """The centre crop of one image, with ``channels`` channels."""
    top, left = ((side - resolution) // 2 for side in image.pixels.shape[1:])
    return _with_channels(image, channels)[:, top : top + resolution, left : left + resolution]


def _with_channels(image: Decoded, channels: int) -> np.ndarray:
    """The pixels with ``channels`` channels: alpha removed, or added as 255."""
    pixels = image.pixels[:channels]
    missing = channels - len(pixels)
    return np.concatenate([pixels, np.full((missing, *pixels.shape[1:]), 255, np.uint8)]) if missing else pixels
