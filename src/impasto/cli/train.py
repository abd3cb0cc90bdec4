"""impasto train: train a model on a folder of images."""

import dataclasses
import itertools
import os
import re
import signal
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import Annotated

from tyro.conf import Positional, arg

from impasto.cli.flags import in_boxes, split_flag
from impasto.cli.messages import MESSAGES, MessageFlags
from impasto.cli.outputs import Out
from impasto.config import TrainConfig, settings_of
from impasto.errors import ImpastoError
from impasto.events import Event, Finished, Listener, Warned
from impasto.terminal import Terminal

DEFAULT_RUN = Path("runs/NAME")
"""Default of --out; NAME is that of the images."""
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

    impasto train emoji --minutes 30

    impasto train paintings --out runs/paintings --preset painter --minutes 240
    """

    data: Annotated[Positional[Path], arg(metavar="IMAGES")]
    """Folder or archive of images; each subfolder is a collection, that is, a style."""
    out: Out = DEFAULT_RUN
    """Run folder; an existing run is resumed. NAME is that of IMAGES."""
    preset: Annotated[Preset | None, arg(help=PRESET_HELP, help_behavior_hint="(default: none)")] = None
    message: MessageFlags = MESSAGES

    def __post_init__(self) -> None:
        """No checks here: tyro would catch their ImpastoError; ``run`` checks."""

    def run(self) -> int:
        """Train until the budget is spent or Ctrl-C; returns the exit code."""
        config = settings_of(TrainConfig, self)
        if self.out == DEFAULT_RUN:
            config = dataclasses.replace(config, out=run_of(self.data))
            check_images(config)
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
                terminal = stack.enter_context(Terminal())
                listeners.append(brief(terminal) if self.message.quiet else terminal)
            stack.enter_context(cancel_on_signal(cancel, prints))
            api.train(config, listeners, cancel)
        if prints:
            for end in ends:
                self.message.record(
                    run=end.run, complete=end.complete, seconds=round(end.seconds, 3), results=end.results
                )
        stopped = cancel.cancelled and not (ends and ends[-1].complete)
        return INTERRUPTED if stopped else 0


in_boxes(
    Train,
    TrainConfig(Path(), Path()),
    {
        "": ("data", "out", "minutes", "images", "size", "resolution", "finetune", "init", "preset", "text", "seed"),
        "image": ("fit", "zoom", "augment"),
        "model": ("prior_size", "signed_edges"),
        "training": (
            "batch_size",
            "learning_rate",
            "prior_batch_size",
            "prior_learning_rate",
            "stage1_share",
            "preview_minutes",
            "save_minutes",
            "tensorboard",
        ),
        "objective": (),
        "device": ("device", "dtype", "processes"),
    },
)


def run_of(images: Path) -> Path:
    """The default run folder: ``runs`` with the name of a folder or archive of images.

    >>> run_of(Path("art/emoji")).as_posix(), run_of(Path("art/emoji.tar.gz")).as_posix()
    ('runs/emoji', 'runs/emoji')

    Raises ImpastoError for a folder without a name.
    """
    name = images.resolve().name
    name = name if images.is_dir() else re.sub(r"(\.tar)?\.\w+$", "", name) or name
    if not name:
        raise ImpastoError(f"{images} has no name: use --out to name the run folder.")
    return DEFAULT_RUN.with_name(name)


def check_images(config: TrainConfig) -> None:
    """Raise ImpastoError if the default run folder holds a run on other images of the same name."""
    from impasto.training.run import Run, read_config

    file = Run(config.out).config
    if not file.exists() or (before := read_config(file).data).resolve() == config.data.resolve():
        return
    raise ImpastoError(
        f"{config.out} holds a run on {before}, not {config.data}: name another folder with --out, or this one with "
        "--out if the images have moved."
    )


def brief(terminal: Listener) -> Listener:
    """A listener that shows only warnings and the end of the run on ``terminal``."""

    def listen(event: Event) -> None:
        if isinstance(event, (Warned, Finished)):
            terminal(event)

    return listen


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
