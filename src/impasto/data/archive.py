"""Zip and tar archives as sources. Members are read into memory and never written to disk."""

import lzma
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Self

from impasto.data import source
from impasto.data.source import Member, SkippedError, Source, check_size
from impasto.errors import ImpastoError

BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError)
"""Exceptions of the standard library for damaged archives (ValueError: invalid header fields)."""


class Archive(Source):
    """The common part of zip and tar archives."""

    @property
    def stem(self) -> str:
        """The file name without its suffix (``.zip``, ``.tar.gz``)."""
        return re.sub(r"(\.tar)?\.\w+$", "", self.path.name) or self.path.name

    @property
    def wraps_itself(self) -> bool:
        """Archives often contain one outer folder."""
        return True

    def stamp(self) -> str:
        """Size and modification time of the archive, which is not opened."""
        status = self.path.stat()
        return f"{status.st_size}\0{status.st_mtime_ns}"

    def _broken(self, error: Exception) -> ImpastoError:
        return ImpastoError(f"{self.path} is a damaged archive: {error}. Copy or download it again.")

    def _check_total(self, num_bytes: int) -> None:
        if num_bytes > source.MAX_ARCHIVE_BYTES:
            limit = source.MAX_ARCHIVE_BYTES / 2**30
            raise ImpastoError(
                f"{self.path} unpacks to more than {limit:g} GiB. If you trust it, unpack it yourself, "
                "and use the folder."
            )


def unsafe(name: str) -> str | None:
    """The reason to refuse a member of this name, or None. Such names are signs of a malicious archive."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or re.match(r"[A-Za-z]:", name):
        return "absolute path in an archive"
    if ".." in path.parts:
        return "path with '..' in an archive"
    return None


class Zip(Archive):
    """A .zip file."""

    def __enter__(self) -> Self:
        try:
            self._zip = zipfile.ZipFile(self.path)
        except (*BROKEN, NotImplementedError) as error:
            raise self._broken(error) from error
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the file."""
        self._zip.close()

    def members(self) -> Iterator[Member | tuple[str, str]]:
        """Yield files in the order of the archive. Raises ImpastoError if the unpacked size exceeds the limit."""
        infos = [info for info in self._zip.infolist() if not info.is_dir()]
        self._check_total(sum(info.file_size for info in infos))
        for info in infos:
            # The upper half of the external attributes is the Unix mode: 0o12 in its top bits marks a link.
            reason = "a link in an archive" if info.external_attr >> 28 == 0o12 else unsafe(info.filename)
            yield (info.filename, reason) if reason else Member(info.filename, info.file_size, info)

    def read(self, member: Member) -> bytes:
        """The bytes of one member. The size limit also holds if the archive states a wrong size."""
        check_size(member.size)
        try:
            with self._zip.open(member.handle) as handle:
                data = handle.read(source.MAX_FILE_BYTES + 1)
        except RuntimeError as error:  # NotImplementedError (method) is a RuntimeError, and so is "encrypted"
            raise SkippedError(str(error).partition(" for extraction")[0]) from error
        except BROKEN as error:
            raise SkippedError(f"damaged in the archive: {error}") from error
        check_size(len(data))
        return data


class Tar(Archive):
    """A .tar file, plain or compressed."""

    def __enter__(self) -> Self:
        try:
            self._tar = tarfile.open(self.path, "r:*")
        except BROKEN as error:
            raise self._broken(error) from error
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the file."""
        self._tar.close()

    def members(self) -> Iterator[Member | tuple[str, str]]:
        """Yield files in the order of the archive: a compressed tar is fast only in sequential order.

        Raises ImpastoError for damaged archives, and if the unpacked size exceeds the limit.
        """
        total = 0
        try:
            for info in self._tar:
                # Checked before the next header, because reaching it unpacks this member.
                total += info.size
                self._check_total(total)
                name = info.name.removeprefix("./")
                if info.isdir():
                    continue
                if info.issym() or info.islnk():
                    yield name, "a link in an archive"
                elif not info.isfile():
                    yield name, "not a regular file"
                elif reason := unsafe(name):
                    yield name, reason
                else:
                    yield Member(name, info.size, info)
        except ImpastoError:
            raise
        except BROKEN as error:
            raise self._broken(error) from error

    def read(self, member: Member) -> bytes:
        """The bytes of one member."""
        check_size(member.size)
        try:
            handle = self._tar.extractfile(member.handle)
            data = handle.read(source.MAX_FILE_BYTES + 1) if handle else b""
        except BROKEN as error:
            raise SkippedError(f"damaged in the archive: {error}") from error
        check_size(len(data))
        return data


def open_archive(path: Path) -> Archive | None:
    """The archive at ``path``, recognised by its content; None if it is neither zip nor tar."""
    if zipfile.is_zipfile(path):
        return Zip(path)
    try:
        return Tar(path) if tarfile.is_tarfile(path) else None
    except BROKEN:
        return None
