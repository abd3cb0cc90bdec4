"""What a source holds: which of its files are images, which are metadata, and what the rest is."""

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
"""Images too, but of kinds that are not read: the audit names them, so that nobody features for them."""
METADATA_NAME = "metadata.jsonl"


@dataclass
class Listing:
    """The files of one source."""

    images: list[Member] = field(default_factory=list)
    """In reading order."""
    metadata: list[Member] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    """Name to reason."""
    not_images: dict[str, int] = field(default_factory=dict)
    """Suffix (or file name, where there is none) to count."""


def open_source(path: Path, *, exclude: Path | None = None) -> Source:
    """The folder (without ``exclude``), archive or single file at ``path``.

    Raises ImpastoError when nothing is there, or it may not be read.
    """
    try:
        if path.is_dir():
            return Folder(path, exclude)
        if not path.exists():
            raise ImpastoError(f"{path} does not exist. Give a folder of images, a .zip or a .tar.")
        # An image first: bytes behind its end may look like a zip.
        if path.suffix.lower() in IMAGE_SUFFIXES:
            return SingleFile(path)
        return open_archive(path) or SingleFile(path)
    except OSError as error:
        raise ImpastoError(f"cannot read {path}: {error.strerror or error}.") from error


def list_source(source: Source) -> Listing:
    """Sort the files of an open source into images, metadata and the rest."""
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
    """The collection of each image by its place: its top-level sub-folder, or the source's own name."""
    parts = {member.name: PurePosixPath(member.name).parts for member in listing.images}
    outer = {path[0] for path in parts.values()} if source.wraps_itself else set()
    # An archive with mine/cats/... and mine/dogs/...: the outer folder tells nothing apart.
    skip = 1 if len(outer) == 1 and all(len(path) > 2 for path in parts.values()) else 0
    return {name: path[skip] if len(path) > skip + 1 else source.stem for name, path in parts.items()}


def _is_hidden(path: PurePosixPath) -> bool:
    """Whether the system made it (.DS_Store, ._image.png, __MACOSX/, .thumbnails/), not a person."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
