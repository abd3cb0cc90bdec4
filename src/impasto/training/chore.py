"""What a training does now and then beside learning: save, show, measure."""

import time
from types import TracebackType

MOST_TIME = 0.05
"""Part of the time that a chore may take: one that takes long comes less often."""


class Chore:
    """Due every so many minutes, and never so often that it would take more than a small part of the time.

    >>> chore = Chore(minutes=0)
    >>> with chore:
    ...     time.sleep(0.01)
    >>> chore.due()
    False
    """

    def __init__(self, minutes: float) -> None:
        self.minutes = minutes
        self._begun = self._ended = time.monotonic()

    def due(self) -> bool:
        """Whether it is time again."""
        took = self._ended - self._begun
        return time.monotonic() - self._ended >= max(60 * self.minutes, took * (1 / MOST_TIME - 1))

    def __enter__(self) -> None:
        self._begun = time.monotonic()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._ended = time.monotonic()
