"""A folder of images, or a single file, as a source."""

import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from impasto.data import source
from impasto.data.source import Member, SkippedError, Source, check_size


class Folder(Source):
    """A folder with everything below it. Symbolic links are followed, each folder once.

    ``exclude`` is a folder that is not looked into: a cache that lies among the images.
    """

    def __init__(self, path: Path, exclude: Path | None = None) -> None:
        super().__init__(path)
        self._exclude = exclude

    @cached_property
    def _walked(self) -> list[tuple[Member, int] | tuple[str, str]]:
        """Members with their times of change in nanoseconds, and skipped names with reasons, by name."""
        found: list[tuple[Member, int] | tuple[str, str]] = []
        seen: set[tuple[int, int]] = set()
        if self._exclude is not None and self._exclude.is_dir():
            status = self._exclude.stat()
            seen.add((status.st_dev, status.st_ino))
        todo = [(str(self.path), "")]
        # os.scandir and plain strings: pathlib takes ten times as long on 10,000 files.
        while todo:
            folder, prefix = todo.pop()
            try:
                status = os.stat(folder)  # noqa: PTH116
                if (status.st_dev, status.st_ino) in seen:
                    continue
                seen.add((status.st_dev, status.st_ino))
                with os.scandir(folder) as entries:
                    for entry in entries:
                        name = prefix + entry.name
                        try:
                            if entry.is_dir():
                                todo.append((entry.path, name + "/"))
                            elif entry.is_file():
                                status = entry.stat()
                                found.append((Member(name, status.st_size, entry.path), status.st_mtime_ns))
                            else:
                                found.append((name, "a broken link or not a regular file"))
                        except OSError as error:
                            found.append((name, error.strerror or str(error)))
            except OSError as error:
                found.append((prefix or self.stem, f"folder cannot be read: {error.strerror or error}"))
        return sorted(found, key=lambda item: item[0].name if isinstance(item[0], Member) else item[0])

    def stamp(self) -> str:
        """Every name with its size and time of change."""
        return "\n".join(
            f"{item.name}\0{item.size}\0{detail}" if isinstance(item, Member) else f"{item}\0{detail}"
            for item, detail in self._walked
        )

    def members(self) -> Iterator[Member | tuple[str, str]]:
        """Files by name."""
        for item, detail in self._walked:
            yield item if isinstance(item, Member) else (item, str(detail))

    def read(self, member: Member) -> bytes:
        """The bytes of one file."""
        check_size(member.size)
        try:
            with Path(member.handle).open("rb") as handle:
                data = handle.read(source.MAX_FILE_BYTES + 1)
        except OSError as error:
            raise SkippedError(error.strerror or str(error)) from error
        check_size(len(data))
        return data


class SingleFile(Folder):
    """One file, as a source with one member."""

    @cached_property
    def _walked(self) -> list[tuple[Member, int] | tuple[str, str]]:
        status = self.path.stat()
        return [(Member(self.path.name, status.st_size, str(self.path)), status.st_mtime_ns)]
