"""What a stage saw and how good it got, in words."""

from impasto.config import TrainConfig
from impasto.training.budget import StageClock
from impasto.training.early_stop import EarlyStoppedPriorStage
from impasto.training.preview import HeldOutScores
from impasto.training.stage import TrainingStage

FEW_UPDATES = 1000
"""Updates of the prior below which samples rarely have a shape."""


def autoencoder_result(stage: TrainingStage, clock: StageClock, scores: HeldOutScores | None) -> str:
    """A line about stage 1."""
    quality = "" if scores is None else f"; held-out images are reconstructed at {scores.psnr_per_prefix[-1]:.1f} dB"
    return _seen(stage, clock) + quality


def prior_result(stage: EarlyStoppedPriorStage, clock: StageClock, config: TrainConfig) -> tuple[str, str | None]:
    """A line about stage 2, and a warning if it learned little."""
    line = f"{_seen(stage, clock)}; {stage.summary}"
    if stage.best_update == 0:
        kept = f"that of {config.finetune}" if config.finetune is not None else "the one it began with"
        return line, f"the held-out loss never fell: the prior is {kept}"
    if stage.optimizer.updates < FEW_UPDATES and config.finetune is None and not stage.converged:
        return line, (
            f"the prior made only {stage.optimizer.updates:,} updates, so images may have no clear shapes: a longer "
            "budget resumes this run"
        )
    return line, None


def _seen(stage: TrainingStage, clock: StageClock) -> str:
    updates = stage.optimizer.updates
    return f"stage {stage.stage}: {clock.images_seen:,} images, {updates:,} updates in {clock.seconds / 60:.1f} minutes"
