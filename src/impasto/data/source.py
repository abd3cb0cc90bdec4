"""The interface of folders and archives: named members, read one at a time, with size limits."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

MAX_FILE_BYTES = 256 * 2**20
"""Larger files are skipped."""
MAX_ARCHIVE_BYTES = 64 * 2**30
"""Archives with a larger unpacked size are refused."""


class SkippedError(Exception):
    """A member cannot be used; the message is the reason in the audit."""


@dataclass(frozen=True)
class Member:
    """One file of a source."""

    name: str
    """Path inside the source, with forward slashes."""
    size: int
    """Bytes, according to the file system or the archive."""
    handle: Any = None
    """The handle by which the source reads it."""


class Source(ABC):
    """A folder or an archive, as a context manager. Only one thread at a time may read members."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def stem(self) -> str:
        """The name of the source without its suffixes: the collection of images outside sub-folders."""
        return self.path.resolve().name or "images"

    @property
    def wraps_itself(self) -> bool:
        """Whether all members may be in one outer folder, as in most archives."""
        return False

    @abstractmethod
    def stamp(self) -> str:
        """A text that changes when a file is added, removed or written; computed without reading images."""

    @abstractmethod
    def members(self) -> Iterator[Member | tuple[str, str]]:
        """Yield every file in reading order; (name, reason) for a file that is refused."""

    @abstractmethod
    def read(self, member: Member) -> bytes:
        """The bytes of one member. Raises SkippedError if it is too large or cannot be read."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:  # noqa: B027
        """Close the source; folders need no closing."""


def check_size(num_bytes: int) -> None:
    """Raise SkippedError if a file exceeds `MAX_FILE_BYTES`."""
    if num_bytes > MAX_FILE_BYTES:
        raise SkippedError(f"larger than {MAX_FILE_BYTES // 2**20} MiB")
