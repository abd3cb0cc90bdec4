"""Time: the budget of a run, timers for what happens at intervals, and the speed."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import fmean
from types import TracebackType
from typing import TYPE_CHECKING

from impasto.config import TrainConfig
from impasto.events import Stage, Stepped

if TYPE_CHECKING:
    from torch import Tensor

DEFAULT_MINUTES = 30.0
MAX_TIMER_SHARE = 0.05
"""Part of the time that previews and saves may take: those that take long happen less often."""
REPORT_SECONDS = 0.5
"""Between two events about steps: a listener needs no more, and reading the loss synchronises a GPU."""
DISTURBANCE_SECONDS = 20.0
"""Shortest time over which the share of the processor is measured."""
MIN_PROCESSOR_SHARE = 0.75
"""Below this part of a core a training counts as disturbed by other programs."""


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

    def stop(self) -> None:
        """Stop counting time."""
        self.tick()
        self._since = None

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


class Budget:
    """The budget of a run, in seconds or images, and what is spent of it, over all resumes.

    Seconds contain everything from the start of `train` to its end. What is not a step is overhead: preparation,
    latents, the last previews, the copy check and saves. The stages share what the overhead leaves; their clocks run
    only while they make steps.
    """

    def __init__(self, config: TrainConfig) -> None:
        self._started = time.monotonic()
        self.shares = {Stage.AUTOENCODER: config.stage1_share}
        if not config.freeze_prior:
            self.shares[Stage.PRIOR] = 1 - config.stage1_share
        self.counts_images = config.images is not None
        minutes = DEFAULT_MINUTES if config.minutes is None else config.minutes
        self.total: float = 60 * minutes if config.images is None else config.images
        """Seconds or images."""
        self.clocks = {
            stage: StageClock(max(1.0, round(self.total * share)), self.counts_images)
            for stage, share in self.shares.items()
        }
        self.expected_after: dict[Stage, float] = dict.fromkeys(self.shares, 0.0)
        """Seconds of overhead that follow the steps of each stage, an estimate."""
        self._overhead_before = 0.0
        self._steps_before = 0.0

    @property
    def overhead(self) -> float:
        """Seconds that were not steps, up to now."""
        steps_now = sum(clock.seconds for clock in self.clocks.values()) - self._steps_before
        return self._overhead_before + time.monotonic() - self._started - steps_now

    def limit_of(self, stage: Stage) -> float:
        """What ``stage`` may use, in seconds or images: its share of what overhead and earlier stages leave."""
        if self.counts_images:
            return self.clocks[stage].limit
        stages = list(self.shares)
        earlier, rest = stages[: stages.index(stage)], stages[stages.index(stage) :]
        left = self.total - self.overhead - sum(self.clocks[s].seconds for s in earlier)
        left -= sum(self.expected_after[s] for s in rest)
        return left * self.shares[stage] / sum(self.shares[s] for s in rest)

    @property
    def seconds_left(self) -> float:
        """What is left of a budget in seconds."""
        return max(0.0, self.total - self.overhead - sum(clock.seconds for clock in self.clocks.values()))

    def numbers(self) -> dict[str, float]:
        """All that resuming needs."""
        result: dict[str, float] = {"budget": self.total, "overhead": self.overhead}
        for stage, clock in self.clocks.items():
            result |= {f"{stage}.images_seen": clock.images_seen, f"{stage}.seconds": clock.seconds}
            result |= {f"{stage}.expected_after": self.expected_after[stage]}
        return result

    def restore(self, numbers: Mapping[str, float]) -> None:
        """Continue from `numbers`; version 0.1 did not save the overhead."""
        self._overhead_before = numbers.get("overhead", 0.0)
        for stage, clock in self.clocks.items():
            clock.images_seen = int(numbers[f"{stage}.images_seen"])
            clock.seconds = numbers[f"{stage}.seconds"]
            self.expected_after[stage] = numbers.get(f"{stage}.expected_after", 0.0)
        self._steps_before = sum(clock.seconds for clock in self.clocks.values())


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

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._restart()

    def _restart(self) -> None:
        self._started = time.monotonic()
        self._images = 0
        self._terms: dict[str, list[Tensor]] = {}

    def add(self, images: int, terms: "Mapping[str, Tensor]") -> None:
        """Count one step; not every term occurs in every step.

        They are read only for a report, because reading waits for a GPU. Values that are not finite do not count.
        """
        self._images += images
        for name, value in terms.items():
            self._terms.setdefault(name, []).append(value)

    def read(self, stage: Stage, skipped_updates: Callable[[], int]) -> Stepped | None:
        """A report if one is due; then the sums start again. Only then ``skipped_updates`` is called."""
        seconds, clock = time.monotonic() - self._started, self._budget.clocks[stage]
        if seconds < REPORT_SECONDS and clock.progress < 1:
            return None
        clock.tick()
        rate = self._images / max(seconds, 1e-9)
        share = self._budget.shares[Stage.AUTOENCODER]
        before, part = (0.0, share) if stage is Stage.AUTOENCODER else (share, 1 - share)
        report = Stepped(
            stage=stage,
            images_seen=clock.images_seen,
            stage_progress=clock.progress,
            total_progress=before + part * min(1.0, clock.progress),
            seconds_left=self._seconds_left(stage, rate),
            images_per_second=rate,
            terms={name: fmean(values) for name, values in self._finite_terms().items()},
            skipped_updates=skipped_updates(),
        )
        self._restart()
        return report

    def _finite_terms(self) -> dict[str, list[float]]:
        from torch import stack  # takes seconds to import; the studio shows its page before

        read = {name: stack(values).tolist() for name, values in self._terms.items()}
        finite = {name: [value for value in values if math.isfinite(value)] for name, values in read.items()}
        return {name: values for name, values in finite.items() if values}

    def _seconds_left(self, stage: Stage, rate: float) -> float:
        budget = self._budget
        if not budget.counts_images:
            return budget.seconds_left
        seconds = budget.clocks[stage].seconds_left + budget.expected_after[stage]
        if stage is Stage.AUTOENCODER and Stage.PRIOR in budget.clocks:
            seconds += budget.clocks[Stage.PRIOR].limit / rate + budget.expected_after[Stage.PRIOR]
        return seconds


class ProcessorShare:
    """Notices when other programs disturb a training on a CPU: its process then gets only a part of its cores."""

    def __init__(self, num_threads: int | None) -> None:
        """``num_threads`` compute; None on a GPU, where nothing is noticed."""
        self._num_threads = num_threads
        self._is_disturbed = False
        self._restart()

    def _restart(self) -> None:
        self._wall, self._processor = time.monotonic(), time.process_time()

    def warning(self, report: Stepped) -> str | None:
        """A warning, with the new speed and time left, when a disturbance begins."""
        wall = time.monotonic() - self._wall
        if self._num_threads is None or wall < DISTURBANCE_SECONDS:
            return None
        share = (time.process_time() - self._processor) / wall / self._num_threads
        self._restart()
        before, self._is_disturbed = self._is_disturbed, share < MIN_PROCESSOR_SHARE
        if before or not self._is_disturbed:
            return None
        return (
            f"other programs use this machine: the training gets {share:.0%} of its processor time and makes "
            f"{report.images_per_second:.0f} images/s, {report.seconds_left / 60:.0f} minutes left"
        )
