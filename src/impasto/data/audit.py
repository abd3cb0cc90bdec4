"""What was found in a folder of images, for the person who gave it."""

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass

from impasto.config import Fit

Size = tuple[int, int]
"""Width and height in pixels."""

NAMED = 8
"""How many of a kind ``text`` names before it only counts; ``to_json`` has them all."""


@dataclass(frozen=True)
class Audit:
    """Counts and names; nothing that was left out is missing here."""

    source: str
    images: int
    collections: dict[str, int]
    """Name to number of images."""
    with_text: int
    keys: int
    """Number of different keys."""
    smallest: Size
    """Of the files, by area."""
    median: Size
    largest: Size
    enlarged: int
    """Images smaller than the training size."""
    with_alpha: int
    """Images with more than 0.1 % of their pixels not opaque."""
    channels: int
    """4 if any image has alpha, otherwise 3."""
    resolution: int
    fit: Fit
    padded: int
    """Images that are not square and get margins."""
    cropped: int
    """Images that are not square and of which a square is seen at a time."""
    train: int
    held_out: int
    skipped: dict[str, str]
    """Name to reason."""
    not_images: dict[str, int]
    """Suffix to number of files."""
    duplicate_groups: tuple[tuple[str, ...], ...]
    """Names of images that look the same."""

    def text(self) -> str:
        """Lines for a person."""
        sizes = " / ".join(f"{width}x{height}" for width, height in (self.smallest, self.median, self.largest))
        lines = [
            f"{_count(self.images, 'image')} in {_count(len(self.collections), 'collection')}: "
            + _named(f"{name} {count:,}" for name, count in self.collections.items()),
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
            lines += _list(" = ".join(_some(group, 4)) for group in self.duplicate_groups)
        if self.skipped:
            lines.append(f"skipped: {_count(len(self.skipped), 'file')}")
            lines += _list(f"{name}: {reason}" for name, reason in self.skipped.items())
        if self.not_images:
            lines.append(
                f"not images: {_count(sum(self.not_images.values()), 'file')}: "
                + _named(f"{kind} {count:,}" for kind, count in self.not_images.items())
            )
        return "\n".join(lines)

    def to_json(self) -> str:
        """Everything, as indented JSON in ASCII, because names of files need not be valid Unicode."""
        return json.dumps(dataclasses.asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str) -> "Audit":
        """Read back what ``to_json`` wrote. Raises ValueError, TypeError or KeyError for anything else."""
        values = json.loads(text)
        for name in ("smallest", "median", "largest"):
            values[name] = tuple(values[name])
        values["duplicate_groups"] = tuple(map(tuple, values["duplicate_groups"]))
        return cls(**values | {"fit": Fit(values["fit"])})


def reasons(skipped: dict[str, str]) -> str:
    """The first few skipped files with their reasons, to go behind an error message; empty for none."""
    return "".join(f"\n{line}" for line in _list(f"{name}: {reason}" for name, reason in skipped.items()))


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _some(items: Iterable[str], limit: int) -> list[str]:
    listed = [_printable(item) for item in items]
    return [*listed[:limit], f"... {len(listed) - limit:,} more"] if len(listed) > limit else listed


def _named(items: Iterable[str]) -> str:
    return ", ".join(_some(items, NAMED))


def _list(items: Iterable[str]) -> list[str]:
    return [f"  {item}" for item in _some(items, NAMED)]


def _printable(text: str) -> str:
    """File names may hold anything: keep line breaks, control codes and lone surrogates off the terminal."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
