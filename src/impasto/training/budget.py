"""The budget of a run, shared by its two stages: minutes, or a number of pictures for a reproducible length."""

import math
import time
from dataclasses import dataclass

from impasto.config import TrainConfig
from impasto.events import Stage

DEFAULT_MINUTES = 30.0


@dataclass
class StageClock:
    """How much of one stage's budget is spent, over all resumes."""

    limit: float
    """Seconds, or pictures where ``counts_images``."""
    counts_images: bool
    images_seen: int = 0
    seconds: float = 0.0
    _since: float | None = None

    def start(self) -> None:
        """Let time count from now on, where it does not already."""
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
        """Part of the budget that is spent; 1 or more when the stage is over."""
        return (self.images_seen if self.counts_images else self.seconds) / self.limit

    @property
    def seconds_left(self) -> float:
        """An estimate, from the time that the progress so far took."""
        if not self.counts_images:
            return max(0.0, self.limit - self.seconds)
        return self.seconds * (1 / self.progress - 1) if self.images_seen else math.inf


def clocks(config: TrainConfig) -> dict[Stage, StageClock]:
    """The clocks of the stages that there are, at zero."""
    shares = {Stage.AUTOENCODER: config.stage1_share}
    if not config.prior_stays:
        shares[Stage.PRIOR] = 1 - config.stage1_share
    if config.images is not None:
        return {s: StageClock(max(1, round(config.images * part)), True) for s, part in shares.items()}
    minutes = DEFAULT_MINUTES if config.minutes is None else config.minutes
    return {s: StageClock(60 * minutes * part, False) for s, part in shares.items()}
