"""impasto train: from a folder of images to a model."""

import itertools
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import Annotated

from tyro.conf import Positional, arg

from impasto.cli.terminal import Terminal
from impasto.config import TrainConfig, settings_of
from impasto.events import Event, Finished, Listener

STDERR = 2
"""File descriptor."""
INTERRUPTED = 130
"""Exit code of a command that Ctrl-C ended."""


class Preset(StrEnum):
    """Settings for a kind of images."""

    PAINTER = "painter"


PRESETS: dict[Preset, dict[str, str]] = {
    Preset.PAINTER: {
        "--resolution": "128",
        "--fit": "crop",
        "--zoom": "1.75",
        "--stage1-share": "0.65",
        "--prior-size": "tiny",
        "--signed-edges": "",
        "--objective.swap-weight": "0.1",
        "--objective.destylized-weight": "0.5",
    },
}
"""The flags that each stands for, those without a value with an empty one; flags that are given win."""


def with_preset(arguments: Sequence[str]) -> list[str]:
    """The command line with the flags that its --preset stands for, where they are not given.

    >>> with_preset(["train", "art", "--preset", "painter", "--resolution", "64"])[4:10]
    ['--resolution', '64', '--fit', 'crop', '--zoom', '1.75']
    """
    given = dict(itertools.pairwise(arguments))
    preset = given.get("--preset")
    if arguments[:1] != ["train"] or preset not in list(Preset):
        return list(arguments)
    flags = {name: value for name, value in PRESETS[Preset(preset)].items() if name not in arguments}
    return [*arguments, *(part for flag in flags.items() for part in flag if part)]


class CancelToken:
    """Asked once a step whether to stop; set by the first Ctrl-C."""

    def __init__(self) -> None:
        self.cancelled = False

    def __call__(self) -> bool:
        """Whether to stop."""
        return self.cancelled


@dataclass(frozen=True)
class Train(TrainConfig):
    """Learn the style of a folder of images; the same command again resumes.

    impasto train emoji --out runs/emoji --minutes 30

    impasto train paintings --out runs/paintings --preset painter --minutes 240
    """

    data: Annotated[Positional[Path], arg(metavar="IMAGES")]
    """Folder of images; each folder inside it is a collection with a style of its own."""
    preset: Annotated[Preset | None, arg(help_behavior_hint="(default: none)")] = None
    """painter, to stylize photos: --resolution 128 --fit crop --zoom 1.75 --stage1-share 0.65 --prior-size tiny
    --signed-edges --objective.swap-weight 0.1 --objective.destylized-weight 0.5."""

    def __post_init__(self) -> None:
        """Leave the checks to ``run``, where a mistake is reported as every command reports it."""

    def run(self) -> int:
        """Train until the budget is spent or Ctrl-C; returns the exit code."""
        config = settings_of(TrainConfig, self)
        from impasto import api

        ends: list[Finished] = []

        def remember_end(event: Event) -> None:
            if isinstance(event, Finished):
                ends.append(event)

        listeners: list[Listener] = [remember_end]
        cancel = CancelToken()
        with ExitStack() as stack:
            # Under torchrun every process runs this; one of them talks.
            speaks = os.environ.get("RANK", "0") == "0"
            if speaks:
                listeners.append(stack.enter_context(Terminal()))
            stack.enter_context(cancel_on_signal(cancel, speaks))
            api.train(config, listeners, cancel)
        stopped = cancel.cancelled and not (ends and ends[-1].complete)
        return INTERRUPTED if stopped else 0


@contextmanager
def cancel_on_signal(cancel: CancelToken, speaks: bool = True) -> Iterator[None]:
    """Let Ctrl-C or a termination request finish the step and save; the second one exits at once."""

    def handle(number: int, frame: FrameType | None) -> None:
        if cancel.cancelled:
            raise KeyboardInterrupt
        cancel.cancelled = True
        if speaks:
            # Not print: a handler may run in the middle of another print, and stderr's buffer refuses to
            # nest.
            os.write(STDERR, b"\nfinishing the step, then saving... (once more: exit at once)\n")

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, handle) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
