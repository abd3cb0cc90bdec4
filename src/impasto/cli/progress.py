"""Progress of a command that writes files one by one."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

LINE_SECONDS = 10.0
"""Seconds between two lines of progress if stderr is not a terminal."""


class Progress:
    """Counts finished images on stderr: a bar on a terminal, otherwise a plain line every `LINE_SECONDS`."""

    def __init__(
        self, verb: str, total: int, clock: Callable[[], float] = time.monotonic, *, shown: bool = True
    ) -> None:
        self._verb, self._total, self._clock, self._shown = verb, total, clock, shown
        self.seconds = 0.0
        """Time of the last item."""
        self._show_step: Callable[[str], object] = lambda text: None

    def over(self, items: Iterable[T]) -> Iterator[T]:
        """Yield ``items``; each counts as finished when the next is requested."""
        timed = self._timed(items)
        if not self._shown:
            return timed
        return self._bar(timed) if sys.stderr.isatty() else self._lines(timed)

    def on_step(self, step: int, steps: int) -> None:
        """Show the current step of the sampler."""
        self._show_step(f"step {step}/{steps}")

    def _timed(self, items: Iterable[T]) -> Iterator[T]:
        start = time.monotonic()
        for item in items:
            self.seconds = round(time.monotonic() - start, 3)
            yield item
            start = time.monotonic()

    def _bar(self, items: Iterable[T]) -> Iterator[T]:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[step]}"),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(self._verb, total=self._total, step="")
            self._show_step = lambda text: bar.update(task, step=text)
            for item in items:
                yield item
                bar.advance(task)

    def _lines(self, items: Iterable[T]) -> Iterator[T]:
        last = self._clock()
        for count, item in enumerate(items, start=1):
            yield item
            now = self._clock()
            if now - last >= LINE_SECONDS:
                last = now
                print(f"{self._verb}: {count} of {self._total}", file=sys.stderr, flush=True)
