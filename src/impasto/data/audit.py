"""The audit of a data folder: counts, sizes, duplicates and skipped files."""

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass

from impasto.config import Fit

Size = tuple[int, int]
"""Width and height in pixels."""

MAX_LISTED = 8
"""Items that ``text`` lists of each kind; ``to_json`` has all of them."""


@dataclass(frozen=True)
class Audit:
    """Counts and names, including every file that was skipped."""

    source: str
    images: int
    collections: dict[str, int]
    """The number of images for each name."""
    with_text: int
    keys: int
    """Number of distinct keys."""
    smallest: Size
    """Size of the file with the fewest pixels."""
    median: Size
    largest: Size
    enlarged: int
    """Images smaller than the training resolution."""
    with_alpha: int
    """Images of which more than 0.1 % of the pixels are not opaque."""
    channels: int
    """4 if any image has alpha, else 3."""
    resolution: int
    fit: Fit
    padded: int
    """Images that are not square and are padded."""
    cropped: int
    """Images that are not square and are cropped."""
    train: int
    held_out: int
    skipped: dict[str, str]
    """The reason for each file name."""
    not_images: dict[str, int]
    """The number of files for each suffix."""
    duplicate_groups: tuple[tuple[str, ...], ...]
    """Names of near-duplicates."""

    def text(self) -> str:
        """The audit as lines of text."""
        sizes = " / ".join(f"{width}x{height}" for width, height in (self.smallest, self.median, self.largest))
        lines = [
            f"{_count(self.images, 'image')} in {_count(len(self.collections), 'collection')}: "
            + _inline(f"{name} {count:,}" for name, count in self.collections.items()),
            f"sizes (smallest / median / largest): {sizes}; {self.enlarged:,} below {self.resolution} px",
            f"{self.channels} channels: "
            + (f"{self.with_alpha:,} of {self.images:,} have transparency" if self.with_alpha else "all opaque"),
            f"fit {self.fit.value} to {self.resolution} px: {self.padded:,} padded, "
            f"{self.cropped:,} cropped, {self.images - self.padded - self.cropped:,} square",
            f"{self.train:,} to train on, {self.held_out:,} held out",
        ]
        if self.with_text or self.keys:
            lines.append(f"metadata: {self.with_text:,} with text, {_count(self.keys, 'key')}")
        if self.duplicate_groups:
            lines.append(
                f"near-duplicates: {sum(map(len, self.duplicate_groups)):,} images in "
                f"{_count(len(self.duplicate_groups), 'group')}"
            )
            lines += _lines(" = ".join(_shortened(group, 4)) for group in self.duplicate_groups)
        if self.skipped:
            lines.append(f"skipped: {_count(len(self.skipped), 'file')}")
            lines += _lines(f"{name}: {reason}" for name, reason in self.skipped.items())
        if self.not_images:
            lines.append(
                f"not images: {_count(sum(self.not_images.values()), 'file')}: "
                + _inline(f"{kind} {count:,}" for kind, count in self.not_images.items())
            )
        return "\n".join(lines)

    def to_json(self) -> str:
        """The audit as indented JSON, in ASCII because file names may not be valid Unicode."""
        return json.dumps(dataclasses.asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str) -> "Audit":
        """The inverse of ``to_json``. Raises ValueError, TypeError or KeyError for invalid JSON."""
        values = json.loads(text)
        for name in ("smallest", "median", "largest"):
            values[name] = tuple(values[name])
        values["duplicate_groups"] = tuple(map(tuple, values["duplicate_groups"]))
        return cls(**values | {"fit": Fit(values["fit"])})


def reasons(skipped: dict[str, str]) -> str:
    """The first skipped files with their reasons, to append to an error message; empty if there are none."""
    return "".join(f"\n{line}" for line in _lines(f"{name}: {reason}" for name, reason in skipped.items()))


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _shortened(items: Iterable[str], limit: int) -> list[str]:
    listed = [_printable(item) for item in items]
    return [*listed[:limit], f"... {len(listed) - limit:,} more"] if len(listed) > limit else listed


def _inline(items: Iterable[str]) -> str:
    return ", ".join(_shortened(items, MAX_LISTED))


def _lines(items: Iterable[str]) -> list[str]:
    return [f"  {item}" for item in _shortened(items, MAX_LISTED)]


def _printable(text: str) -> str:
    """Replace line breaks, control codes and lone surrogates, which file names may contain."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
