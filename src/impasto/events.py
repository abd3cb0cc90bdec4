"""Typed events of the core for its listeners: the terminal, the log and the studio. Listeners do not change the run."""

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
    """Information for the user: the audit, the plan, the device and the reason for it."""

    text: str


@dataclass(frozen=True)
class Warned:
    """A warning; the run continues."""

    text: str


@dataclass(frozen=True)
class Stepped:
    """An update of the weights was completed."""

    stage: Stage
    images_seen: int
    """Images seen in this stage, over all processes and resumes."""
    stage_progress: float
    """Share of this stage's budget that is used, 0 to 1."""
    total_progress: float
    """Share of the run's budget that is used, 0 to 1."""
    seconds_left: float
    images_per_second: float
    terms: Mapping[str, float]
    """Loss terms by name, averaged since the previous event."""
    skipped_updates: int
    """Updates skipped so far because of gradient spikes and non-finite losses."""


@dataclass(frozen=True)
class Working:
    """A part of the work outside the steps progressed: preparation or checks."""

    task: str
    done: int
    total: int


@dataclass(frozen=True)
class Previewed:
    """A preview image was written."""

    path: Path


@dataclass(frozen=True)
class Saved:
    """The complete training state was written; a later resume continues from it."""

    path: Path
    images_seen: int


@dataclass(frozen=True)
class Finished:
    """The run ended: complete, or cancelled and resumable."""

    run: Path
    complete: bool
    seconds: float
    results: tuple[str, ...] = ()
    """What each stage saw, how long it took and how good it got, in words; one line each."""


Event = Note | Warned | Stepped | Working | Previewed | Saved | Finished
Listener = Callable[[Event], None]
