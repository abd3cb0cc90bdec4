"""impasto train: train a model on a folder of images."""

import itertools
import os
import signal
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import Annotated

from tyro.conf import Positional, arg

from impasto.cli.flags import split_flag
from impasto.cli.terminal import Terminal
from impasto.config import Minutes, Size, TrainConfig, settings_of
from impasto.events import Event, Finished, Listener

STDERR = 2
"""File descriptor."""
INTERRUPTED = 130
"""Exit code after Ctrl-C."""


class Preset(StrEnum):
    """Named sets of flags for a kind of images."""

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
"""Flags of each preset; the value of a switch is empty. Flags on the command line take precedence."""


def flags_of(preset: Preset, omit: Collection[str] = ()) -> list[str]:
    """The flags of a preset as arguments, except those in ``omit``."""
    flags = ((name, value) for name, value in PRESETS[preset].items() if name not in omit)
    return [part for flag in flags for part in flag if part]


PRESET_HELP = f"painter, for stylizing photos: {' '.join(flags_of(Preset.PAINTER))}."


def with_preset(arguments: Sequence[str]) -> list[str]:
    """The command line with the flags of its --preset appended, except those that it contains already.

    >>> with_preset(["train", "art", "--preset=painter", "--resolution", "64"])[3:9]
    ['--resolution', '64', '--fit', 'crop', '--zoom', '1.75']
    """
    values: dict[str, str] = {}
    for argument, following in itertools.pairwise([*arguments, ""]):
        name, equals, value = split_flag(argument)
        values[name] = value if equals else following
    preset = values.get("--preset")
    if arguments[:1] != ["train"] or preset not in list(Preset):
        return list(arguments)
    return [*arguments, *flags_of(Preset(preset), omit=values)]


class CancelToken:
    """Whether training should stop; set by the first Ctrl-C and read once per step."""

    def __init__(self) -> None:
        self.cancelled = False

    def __call__(self) -> bool:
        """Whether to stop."""
        return self.cancelled


@dataclass(frozen=True)
class Train(TrainConfig):
    """Train a model on a folder of images; the same command resumes a stopped run.

    impasto train emoji --out runs/emoji --minutes 30

    impasto train paintings --out runs/paintings --preset painter --minutes 240
    """

    data: Annotated[Positional[Path], arg(metavar="IMAGES")]
    """Folder of images; each subfolder is a collection, that is, a style."""
    prior_size: Annotated[Size | None, arg(help_behavior_hint="(default: that of --size)")] = None
    minutes: Annotated[Minutes | None, arg(help_behavior_hint="")] = None
    images: Annotated[int | None, arg(help_behavior_hint="")] = None
    prior_learning_rate: Annotated[float | None, arg(help_behavior_hint="")] = None
    finetune: Annotated[Path | None, arg(metavar="MODEL", help_behavior_hint="(default: none)")] = None
    init: Annotated[Path | None, arg(metavar="MODEL", help_behavior_hint="(default: none)")] = None
    preset: Annotated[Preset | None, arg(help=PRESET_HELP, help_behavior_hint="(default: none)")] = None

    def __post_init__(self) -> None:
        """No checks here: tyro would catch their ImpastoError; ``run`` checks."""

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
            # Under torchrun each process runs this; only one of them prints.
            prints = os.environ.get("RANK", "0") == "0"
            if prints:
                listeners.append(stack.enter_context(Terminal()))
            stack.enter_context(cancel_on_signal(cancel, prints))
            api.train(config, listeners, cancel)
        stopped = cancel.cancelled and not (ends and ends[-1].complete)
        return INTERRUPTED if stopped else 0


@contextmanager
def cancel_on_signal(cancel: CancelToken, prints: bool = True) -> Iterator[None]:
    """On the first SIGINT or SIGTERM set ``cancel``: training finishes the step and saves. The second exits at once."""

    def handle(number: int, frame: FrameType | None) -> None:
        if cancel.cancelled:
            raise KeyboardInterrupt
        cancel.cancelled = True
        if prints:
            # Not print: a handler may run during another print, and stderr's buffer is not reentrant.
            os.write(STDERR, b"\nfinishing the step, then saving... (press again to exit at once)\n")

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, handle) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
