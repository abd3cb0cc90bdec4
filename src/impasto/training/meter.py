"""How fast training goes: pictures and terms between two events about steps."""

import time
from statistics import fmean

from impasto.config import TrainConfig
from impasto.events import Stage, Stepped
from impasto.training.budget import StageClock
from impasto.training.stage import TrainingStage

TELL_SECONDS = 0.5
"""Between two events about steps: a listener needs no more, and reading the loss costs time on a GPU."""


class Meter:
    """Adds up steps, and says every now and then how the run stands."""

    def __init__(self, config: TrainConfig, clocks: dict[Stage, StageClock]) -> None:
        self._config = config
        self._clocks = clocks
        self._restart()

    def _restart(self) -> None:
        self._start = time.monotonic()
        self._pictures = 0
        self._terms: dict[str, list[float]] = {}

    def add(self, pictures: int, terms: dict[str, float]) -> None:
        """Count one step; ``terms`` is empty where its update was skipped, and some terms are not there each time."""
        self._pictures += pictures
        for name, value in terms.items():
            self._terms.setdefault(name, []).append(value)

    def read(self, stage: TrainingStage) -> Stepped | None:
        """What to tell, where it is time to; then the meter starts again."""
        seconds = time.monotonic() - self._start
        clock = self._clocks[stage.stage]
        if seconds < TELL_SECONDS and clock.progress < 1:
            return None
        clock.tick()
        rate = self._pictures / max(seconds, 1e-9)
        share = self._config.stage1_share
        before, part = (0.0, share) if stage.stage is Stage.AUTOENCODER else (share, 1 - share)
        told = Stepped(
            stage=stage.stage,
            images_seen=clock.images_seen,
            stage_progress=clock.progress,
            total_progress=before + part * min(1.0, clock.progress),
            seconds_left=clock.seconds_left + self._seconds_after(stage.stage, rate),
            images_per_second=rate,
            terms={name: fmean(values) for name, values in self._terms.items()},
            skipped_updates=stage.optimizer.skipped,
        )
        self._restart()
        return told

    def _seconds_after(self, stage: Stage, rate: float) -> float:
        later = self._clocks.get(Stage.PRIOR)
        if stage is Stage.PRIOR or later is None:
            return 0.0
        return later.limit / rate if later.counts_images else later.limit
