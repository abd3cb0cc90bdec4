"""The files of a source by kind: images, metadata and others."""

from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from impasto.data.archive import open_archive
from impasto.data.folder import Folder, SingleFile
from impasto.data.source import Member, Source
from impasto.errors import ImpastoError

IMAGE_SUFFIXES = frozenset(
    {".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".avif", ".bmp", ".gif", ".tif", ".tiff"}
)
UNSUPPORTED_SUFFIXES = frozenset(
    {".heic", ".heif", ".svg", ".svgz", ".psd", ".xcf", ".ico", ".icns", ".jxl", ".jp2", ".tga", ".eps"}
    | {".dng", ".cr2", ".cr3", ".nef", ".arw", ".raw", ".exr", ".hdr", ".qoi", ".ppm", ".pgm", ".pcx"}
)
"""Image formats that are not read; the audit lists these files as skipped."""
METADATA_NAME = "metadata.jsonl"


@dataclass
class Listing:
    """The files of one source."""

    images: list[Member] = field(default_factory=list)
    """In reading order."""
    metadata: list[Member] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    """The reason for each file name."""
    not_images: dict[str, int] = field(default_factory=dict)
    """The number of files for each suffix; for files without a suffix, for each name."""


def open_source(path: Path, *, exclude: Path | None = None) -> Source:
    """The folder (without ``exclude``), archive or single file at ``path``.

    Raises ImpastoError if ``path`` does not exist or cannot be read.
    """
    try:
        if path.is_dir():
            return Folder(path, exclude)
        if not path.exists():
            raise ImpastoError(
                f"{path} does not exist: check the path. Images are read from files, folders, .zip and .tar archives."
            )
        # Image suffixes come first: an image with trailing bytes can pass for a zip.
        if path.suffix.lower() in IMAGE_SUFFIXES:
            return SingleFile(path)
        return open_archive(path) or SingleFile(path)
    except OSError as error:
        raise ImpastoError(f"cannot read {path}: {error.strerror or error}.") from error


def list_source(source: Source) -> Listing:
    """Sort the files of an open source into images, metadata and others."""
    listing = Listing()
    names: set[str] = set()
    for item in source.members():
        if not isinstance(item, Member):
            listing.skipped[item[0]] = item[1]
            continue
        path = PurePosixPath(item.name)
        suffix = path.suffix.lower()
        if path.name == METADATA_NAME:
            listing.metadata.append(item)
        elif _is_hidden(path) or suffix not in IMAGE_SUFFIXES | UNSUPPORTED_SUFFIXES:
            kind = suffix or path.name
            listing.not_images[kind] = listing.not_images.get(kind, 0) + 1
        elif suffix in UNSUPPORTED_SUFFIXES:
            listing.skipped[item.name] = f"{suffix} is not supported; convert it to PNG"
        elif item.name in names:
            listing.skipped[f"{item.name} (second copy)"] = "the name appears twice in the archive"
        else:
            names.add(item.name)
            listing.images.append(item)
    return listing


def collections_of(source: Source, listing: Listing) -> dict[str, str]:
    """The collection of each image: its top-level sub-folder, or the name of the source."""
    parts = {member.name: PurePosixPath(member.name).parts for member in listing.images}
    outer = {path[0] for path in parts.values()} if source.wraps_itself else set()
    # In an archive with mine/cats/... and mine/dogs/..., the outer folder is not a collection.
    skip = 1 if len(outer) == 1 and all(len(path) > 2 for path in parts.values()) else 0
    return {name: path[skip] if len(path) > skip + 1 else source.stem for name, path in parts.items()}


def _is_hidden(path: PurePosixPath) -> bool:
    """Whether it is a system file (.DS_Store, ._image.png, __MACOSX/, .thumbnails/)."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
