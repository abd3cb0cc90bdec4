"""Where images lie: a folder or an archive, as named members that are read one by one, within limits."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

MAX_FILE_BYTES = 256 * 2**20
"""A larger file is skipped, whatever it claims to be."""
MAX_ARCHIVE_BYTES = 64 * 2**30
"""An archive that unpacks to more than this is refused."""


class SkippedError(Exception):
    """One member cannot be used; the text is the reason that the audit gives for it."""


@dataclass(frozen=True)
class Member:
    """One file of a source."""

    name: str
    """Path inside the source, with forward slashes."""
    size: int
    """Bytes, as claimed by the file system or the archive."""
    handle: Any = None
    """What the source needs to read it."""


class Source(ABC):
    """A folder or an archive. Use as a context manager; members are read by one thread at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def stem(self) -> str:
        """The name of the source without its suffixes: the collection of images outside any sub-folder."""
        return self.path.resolve().name or "images"

    @property
    def wraps_itself(self) -> bool:
        """Whether everything may lie in one outer folder that says nothing, as in most archives."""
        return False

    @abstractmethod
    def stamp(self) -> str:
        """What changes when a file is added, removed or written; quick, and without reading any image."""

    @abstractmethod
    def members(self) -> Iterator[Member | tuple[str, str]]:
        """Every file in the order in which it is best read; (name, reason) for one that must not be read."""

    @abstractmethod
    def read(self, member: Member) -> bytes:
        """The bytes of one member. Raises SkippedError when it is too large or cannot be read."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:  # noqa: B027
        """Release what was opened; a folder has nothing to release."""


def check_size(num_bytes: int) -> None:
    """Raise SkippedError for a file over the limit."""
    if num_bytes > MAX_FILE_BYTES:
        raise SkippedError(f"larger than {MAX_FILE_BYTES // 2**20} MiB")
