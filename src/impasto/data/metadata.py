"""Text, key and collection of images, from metadata.jsonl in the ImageFolder layout of Hugging Face."""

import json
import posixpath
import unicodedata
from dataclasses import dataclass
from typing import Any

from impasto.data.listing import Listing
from impasto.data.source import Member, SkippedError, Source
from impasto.errors import ImpastoError


@dataclass(frozen=True)
class Description:
    """The metadata of one image; None for missing values."""

    text: str | None = None
    key: str | None = None
    collection: str | None = None


def read_metadata(source: Source, listing: Listing) -> tuple[dict[str, Description], dict[str, str]]:
    """Descriptions by image name, and reasons by the names of listed images that are missing.

    The metadata file nearest to an image takes precedence. Raises ImpastoError with file and line for invalid metadata.
    """
    names = {_canonical(member.name): member.name for member in listing.images}
    descriptions: dict[str, Description] = {}
    missing: dict[str, str] = {}
    for member in sorted(listing.metadata, key=lambda member: (member.name.count("/"), member.name)):
        folder = posixpath.dirname(member.name)
        listed: set[str] = set()
        for line, values in _lines(source, member):
            where = f"{source.path}: {member.name}, line {line}"
            file_name = values.get("file_name")
            if not isinstance(file_name, str) or not file_name:
                raise ImpastoError(f'{where}: no "file_name". Every line needs one, relative to metadata.jsonl.')
            path = posixpath.normpath(posixpath.join(folder, file_name))
            if path in listed:
                raise ImpastoError(f"{where}: {file_name} is listed twice. Remove one of the lines.")
            listed.add(path)
            description = Description(**{name: _text(values, name, where) for name in ("text", "key", "collection")})
            if (name := names.get(_canonical(path))) is not None:
                descriptions[name] = description
            elif path not in listing.skipped:
                missing[path] = f"listed in {member.name} but missing"
    return descriptions, missing


def _lines(source: Source, member: Member) -> list[tuple[int, dict[str, Any]]]:
    try:
        content = source.read(member).decode("utf-8-sig")
    except (SkippedError, UnicodeDecodeError) as error:
        raise ImpastoError(f"{source.path}: cannot read {member.name}: {error}.") from error
    lines = []
    # splitlines() would also split at separators that JSON allows within strings.
    for number, line in enumerate(content.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{source.path}: {member.name}, line {number}"
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ImpastoError(f"{where}: not JSON ({error}). Write one object per line.") from error
        if not isinstance(values, dict):
            raise ImpastoError(f'{where}: expected an object like {{"file_name": "a.png"}}.')
        lines.append((number, values))
    return lines


def _text(values: dict[str, Any], name: str, where: str) -> str | None:
    value = values.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if value is not None and not isinstance(value, str):
        raise ImpastoError(f'{where}: "{name}" is {value!r}; use a string.')
    return value or None


def _canonical(name: str) -> str:
    """The NFC form: file systems differ in composed and combining accents."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)
