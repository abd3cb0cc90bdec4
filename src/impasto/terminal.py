"""Progress of a training run on the terminal: a listener of events."""

import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, TextIO

from impasto.events import Event, Finished, Listener, Note, Previewed, Saved, Stepped, Warned, Working

LINE_SECONDS = 10.0
"""Seconds between two lines of progress if the stream is not a terminal."""


class Bar(Protocol):
    """A live display of the last step, with lines above it."""

    def show(self, event: Stepped) -> None:
        """Show a step instead of the last one."""

    def work(self, event: Working) -> None:
        """Show a part of the work outside the steps instead of the last one."""

    def line(self, text: str) -> None:
        """Print one line above the display."""

    def stop(self) -> None:
        """Stop updating and restore the terminal."""


class Terminal:
    """Prints events to stderr: a live bar on a terminal, otherwise plain lines. A context manager."""

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._bar: Bar | None = live_bar(self._stream) if self._stream.isatty() else None
        self._last_line = -float("inf")
        self._task = ""

    def __enter__(self) -> "Terminal":
        """Return this listener; on exit the terminal is restored, also after an exception."""
        return self

    def __exit__(self, *error: object) -> None:
        """Stop the live display."""
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        match event:
            case Note(text):
                self._line(text)
            case Warned(text):
                self._line(f"warning: {text}")
            case Stepped():
                self._step(event)
            case Working():
                self._work(event)
            case Previewed(path):
                self._line(f"preview: {path}")
            case Saved():
                pass  # every two minutes; the last line names the folder
            case Finished():
                if self._bar is not None:
                    self._bar.stop()
                for result in event.results:
                    self._line(result)
                self._line(summary(event))

    def _line(self, text: str) -> None:
        if self._bar is not None:
            self._bar.line(text)
        else:
            print(text, file=self._stream, flush=True)

    def _step(self, event: Stepped) -> None:
        if self._bar is not None:
            self._bar.show(event)
        elif self._is_line_due():
            self._line(f"{percent(event)}  {describe(event)}  {terms(event)}")

    def _work(self, event: Working) -> None:
        if self._bar is not None:
            self._bar.work(event)
        elif event.task != self._task:
            self._task, self._last_line = event.task, self._clock()
        elif self._is_line_due():
            self._line(f"{event.task}: {event.done:,} of {event.total:,}")

    def _is_line_due(self) -> bool:
        now = self._clock()
        if now - self._last_line < LINE_SECONDS:
            return False
        self._last_line = now
        return True


@contextmanager
def default_listeners() -> Iterator[Sequence[Listener]]:
    """The listeners of a training in Python: progress on stderr if that is a terminal, on stdout in a notebook.

    Elsewhere, and in all processes of torchrun but the first, there are none.
    """
    stream = sys.stdout if in_notebook() else sys.stderr
    if os.environ.get("RANK", "0") != "0" or not (in_notebook() or stream.isatty()):
        yield ()
        return
    with Terminal(stream) as terminal:
        yield (terminal,)


def in_notebook() -> bool:
    """Whether the code runs in a kernel of Jupyter."""
    ipython = sys.modules.get("IPython")  # only a notebook and its shell have imported it
    shell = ipython.get_ipython() if ipython is not None else None
    return hasattr(shell, "kernel")


def percent(event: Stepped) -> str:
    """Progress of the whole run, as four characters."""
    return f"{min(event.total_progress, 1):4.0%}"


def describe(event: Stepped) -> str:
    """Stage, images, speed and time left, in one line."""
    return (
        f"{event.stage}  {event.images_seen:,} images  {event.images_per_second:.1f}/s  "
        f"{duration(event.seconds_left)} left"
    )


def terms(event: Stepped) -> str:
    """The loss terms and the number of skipped updates, in one line."""
    parts = [f"{name} {value:.4g}" for name, value in event.terms.items()]
    if event.skipped_updates:
        parts.append(f"skipped updates {event.skipped_updates}")
    return "  ".join(parts)


def duration(seconds: float) -> str:
    """``seconds`` in its two largest units; a question mark if it is negative or not finite.

    >>> duration(8), duration(308), duration(7500), duration(float("nan"))
    ('8s', '5m08s', '2h05m', '?')
    """
    if not 0 <= seconds < float("inf"):
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{rest:02}s" if minutes else f"{rest}s"


def summary(event: Finished) -> str:
    """How the run ended, and the next command."""
    run = shlex.quote(str(event.run))
    if event.complete:
        return f"Done in {duration(event.seconds)}. Generate images with: impasto generate {run} --grid"
    return f"Stopped after {duration(event.seconds)} and saved in {run}. The same command resumes."


def live_bar(stream: TextIO) -> Bar:
    """Two lines at the bottom of the terminal ``stream``, from the first step on."""
    from rich.console import Console, Group
    from rich.live import Live
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    console = Console(file=stream)
    # Warnings that libraries print are redirected: they appear above the bar instead of through it.
    live = Live(console=console, refresh_per_second=4, redirect_stdout=False, redirect_stderr=True)

    class LiveBar:
        def show(self, event: Stepped) -> None:
            first = Table.grid(padding=(0, 1))
            bar = ProgressBar(total=1, completed=min(event.total_progress, 1), width=24)
            first.add_row(bar, percent(event), Text(describe(event), overflow="ellipsis", no_wrap=True))
            second = Text(terms(event), style="dim", overflow="ellipsis", no_wrap=True)
            live.update(Group(first, second))
            live.start()

        def work(self, event: Working) -> None:
            row = Table.grid(padding=(0, 1))
            bar = ProgressBar(total=event.total, completed=event.done, width=24)
            row.add_row(
                bar, Text(f"{event.task}  {event.done:,} of {event.total:,}", overflow="ellipsis", no_wrap=True)
            )
            live.update(row)
            live.start()

        def line(self, text: str) -> None:
            # A Text and not a string, in which brackets, as in a path, are markup.
            console.print(Text(text), soft_wrap=True)

        def stop(self) -> None:
            live.stop()

    return LiveBar()
