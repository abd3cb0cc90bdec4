"""The latent hierarchy as one object: the style and the maps, coarse to fine."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")
U = TypeVar("U")

MAP_STRIDES = (32, 16, 8)
"""Pixels per position of each map, coarse to fine."""
LEVEL_NAMES = ("style", *(f"stride{stride}" for stride in MAP_STRIDES))
"""Names of the latent levels, coarse to fine."""
NUM_LEVELS = len(LEVEL_NAMES)


@dataclass(frozen=True)
class Levels(Generic[T]):
    """One value per latent level.

    >>> levels = Levels(1, (2, 3))
    >>> levels.map(lambda a, b: a + b, Levels(10, (20, 30)))
    Levels(style=11, maps=(22, 33))
    >>> levels.prefix(2, lambda value: 0)
    Levels(style=1, maps=(2, 0))
    """

    style: T
    maps: tuple[T, ...]

    @classmethod
    def of(cls, values: Iterable[T]) -> "Levels[T]":
        """From one value per level, style first."""
        style, *maps = values
        return cls(style, tuple(maps))

    def __iter__(self) -> Iterator[T]:
        """The style, then the maps, coarse to fine."""
        yield self.style
        yield from self.maps

    def map(self, function: Callable[..., U], *others: "Levels[Any]") -> "Levels[U]":
        """``function`` of the values of each level, of this and ``others``."""
        return Levels.of(function(*values) for values in zip(self, *others, strict=True))

    def zip(self, other: "Levels[U]") -> "Levels[tuple[T, U]]":
        """Pairs of the values of each level."""
        return Levels.of(zip(self, other, strict=True))

    def prefix(self, num_levels: int, fill: Callable[[T], T]) -> "Levels[T]":
        """The coarsest ``num_levels`` levels as they are, ``fill`` of each of the others."""
        return Levels.of(value if level < num_levels else fill(value) for level, value in enumerate(self))

    def with_style(self, style: T) -> "Levels[T]":
        """The same maps below another style."""
        return Levels(style, self.maps)
