"""What the core tells whoever listens: the terminal, the log, a page. Listeners only read; they never steer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Stage(StrEnum):
    """The two stages of training."""

    AUTOENCODER = "autoencoder"
    PRIOR = "prior"


@dataclass(frozen=True)
class Note:
    """A line that a person should read: the audit, the plan, the device and why."""

    text: str


@dataclass(frozen=True)
class Warned:
    """Something needs attention, but the run goes on."""

    text: str


@dataclass(frozen=True)
class Stepped:
    """One update of the weights is done."""

    stage: Stage
    images_seen: int
    """Images that this stage has seen, over all processes and resumes."""
    stage_progress: float
    """Part of this stage's budget that is spent, 0 to 1."""
    total_progress: float
    """Part of the whole run's budget that is spent, 0 to 1."""
    seconds_left: float
    images_per_second: float
    terms: Mapping[str, float]
    """Named loss terms, averaged since the event before."""
    skipped_updates: int
    """Updates thrown away so far, for gradient spikes and losses that were not finite."""


@dataclass(frozen=True)
class Previewed:
    """A preview image was written."""

    path: Path


@dataclass(frozen=True)
class Saved:
    """The complete state was written: a run killed from here on resumes from it."""

    path: Path
    images_seen: int


@dataclass(frozen=True)
class Finished:
    """The run is over: complete, or cancelled and resumable."""

    run: Path
    complete: bool
    seconds: float


Event = Note | Warned | Stepped | Previewed | Saved | Finished
Listener = Callable[[Event], None]
