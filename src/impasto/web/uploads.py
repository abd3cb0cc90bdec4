"""Uploaded files: limited in size, identified by content, stored under random names."""

import uuid
from pathlib import Path
from typing import BinaryIO

from impasto.create.clip import DEMUXERS, Clip
from impasto.data.archive import open_archive
from impasto.data.decode import decode_whole, quiet_pillow
from impasto.data.listing import list_source
from impasto.data.source import SkippedError
from impasto.errors import ImpastoError

MAX_PICTURE_BYTES = 64 << 20
MAX_BYTES = 4 << 30
"""Maximum size of an archive or a clip."""
BLOCK_BYTES = 1 << 20
MAX_SIDE = 4096
ARCHIVE_SUFFIXES = frozenset({".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz"})


class TooLargeError(ImpastoError):
    """The file exceeds the limit."""


def receive(stream: BinaryIO, name: str, folder: Path) -> tuple[str, str]:
    """Store ``stream`` in ``folder`` under a random name; returns the kind and that name.

    The kind is picture, clip or archive. Raises ImpastoError, and stores nothing, for other files.
    """
    suffix = Path(name).suffix.lower()
    is_large = suffix in ARCHIVE_SUFFIXES or suffix in DEMUXERS
    limit = MAX_BYTES if is_large else MAX_PICTURE_BYTES
    stored = f"{uuid.uuid4().hex}{suffix if is_large else '.picture'}"
    path = folder / stored
    try:
        with path.open("wb") as file:
            size = 0
            while block := stream.read(BLOCK_BYTES):
                size += len(block)
                if size > limit:
                    raise TooLargeError(f"{name[:80]} has more than {limit >> 20} MiB")
                file.write(block)
        kind = _kind(path, suffix, name)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return kind, stored


def _kind(path: Path, suffix: str, name: str) -> str:
    if suffix in DEMUXERS:
        Clip(path, max_side=MAX_SIDE, channels=3)
        return "clip"
    if suffix in ARCHIVE_SUFFIXES:
        source = open_archive(path)
        if source is None:
            raise ImpastoError(f"{name[:80]} is not a .zip or .tar")
        with source:
            if not list_source(source).images:
                raise ImpastoError(f"{name[:80]} contains no picture")
        return "archive"
    try:
        with quiet_pillow():
            decode_whole(path.read_bytes(), max_side=MAX_SIDE)
    except SkippedError as error:
        raise ImpastoError(f"{name[:80]}: {error}") from error
    return "picture"
