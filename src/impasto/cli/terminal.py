"""What a person at the terminal sees of a training run: a listener that only reads events."""

import shlex
import sys
import time
from collections.abc import Callable
from typing import Protocol, TextIO

from impasto.events import Event, Finished, Note, Previewed, Saved, Stepped, Warned

LINE_SECONDS = 10.0
"""Between two lines of progress where the output is a file or a pipe."""


class Bar(Protocol):
    """A live display of the last step, with lines above it."""

    def show(self, event: Stepped) -> None:
        """Replace what is shown."""

    def line(self, text: str) -> None:
        """Print one line above."""

    def stop(self) -> None:
        """Leave the display as it is and give the terminal back."""


class Terminal:
    """Writes events to stderr: a live bar on a terminal, plain lines elsewhere. A context manager."""

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._bar: Bar | None = live_bar(self._stream) if self._stream.isatty() else None
        self._last_line = -float("inf")

    def __enter__(self) -> "Terminal":
        """Give this listener; the terminal is restored on leaving, whatever happens."""
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
            case Previewed(path):
                self._line(f"preview: {path}")
            case Saved():
                pass  # comes every two minutes; the farewell says what a person needs to know
            case Finished():
                if self._bar is not None:
                    self._bar.stop()
                self._line(farewell(event))

    def _line(self, text: str) -> None:
        if self._bar is not None:
            self._bar.line(text)
        else:
            print(text, file=self._stream, flush=True)

    def _step(self, event: Stepped) -> None:
        now = self._clock()
        if self._bar is not None:
            self._bar.show(event)
        elif now - self._last_line >= LINE_SECONDS:
            self._last_line = now
            self._line(f"{percent(event)}  {describe(event)}  {terms(event)}")


def percent(event: Stepped) -> str:
    """How much of the whole budget is spent, as four characters."""
    return f"{min(event.total_progress, 1):4.0%}"


def describe(event: Stepped) -> str:
    """Stage, images, speed and time left, in one line."""
    return (
        f"{event.stage}  {event.images_seen:,} images  {event.images_per_second:.1f}/s  "
        f"{duration(event.seconds_left)} left"
    )


def terms(event: Stepped) -> str:
    """The named loss terms, and how many updates were thrown away, in one line."""
    parts = [f"{name} {value:.4g}" for name, value in event.terms.items()]
    if event.skipped_updates:
        parts.append(f"skipped updates {event.skipped_updates}")
    return "  ".join(parts)


def duration(seconds: float) -> str:
    """``seconds`` in the two units that matter; a question mark for what is not finite or below zero.

    >>> duration(8), duration(308), duration(7500), duration(float("nan"))
    ('8s', '5m08s', '2h05m', '?')
    """
    if not 0 <= seconds < float("inf"):
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{rest:02}s" if minutes else f"{rest}s"


def farewell(event: Finished) -> str:
    """What happened, and the command that goes on from here."""
    run = shlex.quote(str(event.run))
    if event.complete:
        return f"Done in {duration(event.seconds)}. Make images with: impasto generate {run} --out images"
    return f"Stopped after {duration(event.seconds)} and saved in {run}. The same command resumes."


def live_bar(stream: TextIO) -> Bar:
    """Two lines that stay at the bottom of the terminal ``stream``, from the first step on."""
    from rich.console import Console, Group
    from rich.live import Live
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    console = Console(file=stream)
    # Redirected, warnings that libraries print appear above the bar instead of through it.
    live = Live(console=console, refresh_per_second=4, redirect_stdout=False, redirect_stderr=True)

    class LiveBar:
        def show(self, event: Stepped) -> None:
            first = Table.grid(padding=(0, 1))
            bar = ProgressBar(total=1, completed=min(event.total_progress, 1), width=24)
            first.add_row(bar, percent(event), Text(describe(event), overflow="ellipsis", no_wrap=True))
            second = Text(terms(event), style="dim", overflow="ellipsis", no_wrap=True)
            live.update(Group(first, second))
            live.start()

        def line(self, text: str) -> None:
            # A Text is printed as it stands: in a plain string, the brackets of a path would be taken as
            # markup.
            console.print(Text(text), soft_wrap=True)

        def stop(self) -> None:
            live.stop()

    return LiveBar()
