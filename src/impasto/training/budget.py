"""Time: the budget of a run, shared by its two stages, timers for what happens at intervals, and the speed."""

import math
import time
from dataclasses import dataclass
from statistics import fmean
from types import TracebackType

from impasto.config import TrainConfig
from impasto.events import Stage, Stepped

DEFAULT_MINUTES = 30.0
MAX_TIMER_SHARE = 0.05
"""Part of the time that previews and saves may take: those that take long happen less often."""
REPORT_SECONDS = 0.5
"""Between two events about steps: a listener needs no more, and reading the loss synchronises a GPU."""


@dataclass
class StageClock:
    """How much of one stage's budget is spent, over all resumes."""

    limit: float
    """Seconds, or images with ``counts_images``."""
    counts_images: bool
    images_seen: int = 0
    seconds: float = 0.0
    _since: float | None = None

    def start(self) -> None:
        """Start counting time, if not started."""
        if self._since is None:
            self._since = time.monotonic()

    def tick(self) -> None:
        """Bring ``seconds`` up to date."""
        now = time.monotonic()
        if self._since is not None:
            self.seconds += now - self._since
            self._since = now

    @property
    def progress(self) -> float:
        """Part of the budget that is spent; the stage ends at 1."""
        return (self.images_seen if self.counts_images else self.seconds) / self.limit

    @property
    def seconds_left(self) -> float:
        """An estimate, from the time that the progress so far took."""
        if not self.counts_images:
            return max(0.0, self.limit - self.seconds)
        return self.seconds * (1 / self.progress - 1) if self.images_seen else math.inf


def clocks(config: TrainConfig) -> dict[Stage, StageClock]:
    """The clocks of the stages of a run, at zero."""
    shares = {Stage.AUTOENCODER: config.stage1_share}
    if not config.freeze_prior:
        shares[Stage.PRIOR] = 1 - config.stage1_share
    if config.images is not None:
        return {s: StageClock(max(1, round(config.images * part)), True) for s, part in shares.items()}
    minutes = DEFAULT_MINUTES if config.minutes is None else config.minutes
    return {s: StageClock(60 * minutes * part, False) for s, part in shares.items()}


class IntervalTimer:
    """Due at an interval in minutes, or less often if that would take more than `MAX_TIMER_SHARE` of the time.

    >>> timer = IntervalTimer(minutes=0)
    >>> with timer:
    ...     time.sleep(0.01)
    >>> timer.due()
    False
    """

    def __init__(self, minutes: float) -> None:
        self.minutes = minutes
        self._started = self._ended = time.monotonic()

    def due(self) -> bool:
        """Whether the interval is over."""
        took = self._ended - self._started
        return time.monotonic() - self._ended >= max(60 * self.minutes, took * (1 / MAX_TIMER_SHARE - 1))

    def __enter__(self) -> None:
        self._started = time.monotonic()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._ended = time.monotonic()


class Speedometer:
    """Sums up steps and reports speed, progress and average terms at intervals."""

    def __init__(self, config: TrainConfig, clocks: dict[Stage, StageClock]) -> None:
        self._stage1_share = config.stage1_share
        self._clocks = clocks
        self._restart()

    def _restart(self) -> None:
        self._started = time.monotonic()
        self._images = 0
        self._terms: dict[str, list[float]] = {}

    def add(self, images: int, terms: dict[str, float]) -> None:
        """Count one step; ``terms`` is empty if its update was skipped, and not every term occurs in every step."""
        self._images += images
        for name, value in terms.items():
            self._terms.setdefault(name, []).append(value)

    def read(self, stage: Stage, skipped_updates: int) -> Stepped | None:
        """A report if one is due; then the sums start again."""
        seconds, clock = time.monotonic() - self._started, self._clocks[stage]
        if seconds < REPORT_SECONDS and clock.progress < 1:
            return None
        clock.tick()
        rate = self._images / max(seconds, 1e-9)
        share = self._stage1_share
        before, part = (0.0, share) if stage is Stage.AUTOENCODER else (share, 1 - share)
        report = Stepped(
            stage=stage,
            images_seen=clock.images_seen,
            stage_progress=clock.progress,
            total_progress=before + part * min(1.0, clock.progress),
            seconds_left=clock.seconds_left + self._seconds_after(stage, rate),
            images_per_second=rate,
            terms={name: fmean(values) for name, values in self._terms.items()},
            skipped_updates=skipped_updates,
        )
        self._restart()
        return report

    def _seconds_after(self, stage: Stage, rate: float) -> float:
        later = self._clocks.get(Stage.PRIOR)
        if stage is Stage.PRIOR or later is None:
            return 0.0
        return later.limit / rate if later.counts_images else later.limit
