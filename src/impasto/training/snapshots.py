"""What a run writes while it trains: preview sheets, held-out scores, complete states and models."""

from collections.abc import Callable, Mapping

import torch

from impasto.atomic import write_atomically
from impasto.data import ImageSet
from impasto.events import Event, Note, Previewed, Saved, Stage, Warned, Working
from impasto.model.blocks import channels_last
from impasto.model.gaussian import Gaussian
from impasto.model.impasto import Impasto, save_model
from impasto.model.levels import LEVEL_NAMES
from impasto.training.budget import Budget, IntervalTimer, StageClock
from impasto.training.checkpoint import Checkpoint, write_checkpoint
from impasto.training.copy_check import check_copies
from impasto.training.engine import Engine
from impasto.training.preview import HeldOutScores, collection_styles, held_out_scores, preview
from impasto.training.run import Run
from impasto.training.stage import TrainingStage

COLLAPSE_CHECK_AFTER = 0.2
"""Part of stage 1 after which every level should carry information."""
COLLAPSED_SHARE = 0.01
"""A level with less than this part of the rate is reported as collapsed."""


class Snapshots:
    """Writes into the run folder, always with averaged weights, and emits what it wrote."""

    def __init__(
        self,
        run: Run,
        engine: Engine,
        model: Impasto,
        images: ImageSet,
        emit: Callable[[Event], None],
        kept_styles: Mapping[str, Gaussian],
    ) -> None:
        """``kept_styles`` are those of old collections, (1, style_dim) each, which the images do not determine."""
        self.run = run
        self.engine = engine
        self.model = model
        self.images = images
        self.emit = emit
        self.kept_styles = kept_styles
        self.collapsed_levels: set[str] = set()
        self._publishing = IntervalTimer(minutes=0)
        self._final_styles: Gaussian | None = None
        self.held_out: HeldOutScores | None = None
        """The last scores of stage 1."""

    def preview(self, stage: TrainingStage, clock: StageClock) -> None:
        """The preview sheet, and in stage 1 the scores of held-out images."""
        whole = self._averaged(stage)
        sampled = (whole.prior, self._styles(whole, stage)) if stage.stage is Stage.PRIOR else None
        sheet = preview(whole.autoencoder, self.images, self.engine.device, sampled)
        path = self.run.previews / f"{stage.stage}-{clock.images_seen:09d}.png"
        write_atomically(path, lambda temporary: sheet.save(temporary))
        self.emit(Previewed(path))
        if stage.stage is Stage.AUTOENCODER:
            self.held_out = scores = held_out_scores(whole.autoencoder, self.images, self.engine.device)
            self.emit(Note(scores.text()))
            if clock.progress > COLLAPSE_CHECK_AFTER:
                self._warn_of_collapsed_levels(scores)

    def check_copies(self, stage: TrainingStage, given: ImageSet) -> str:
        """Whether samples are copies: a line, and a sheet of those closest to the images of ``given``."""
        whole = self._averaged(stage)
        rows = [self.images.collections.index(name) for name in given.collections]
        report = lambda done, total: self.emit(Working("copy check", done, total))  # noqa: E731
        line, sheet = check_copies(whole, self._styles(whole, stage)[rows], given, seed=0, progress=report)
        path = self.run.previews / "copies.png"
        write_atomically(path, lambda temporary: sheet.save(temporary))
        self.emit(Previewed(path))
        return line

    def save(self, stage: TrainingStage, budget: Budget, *, leaving: bool) -> None:
        """The complete state, then the model.

        The styles of many collections take long to compute: unless ``leaving``, the model is not written at every save.
        """
        whole, state = self._averaged(stage), stage.state()
        tensors = dict(state.tensors)
        numbers = {**state.numbers, **budget.numbers()}
        numbers["stage"] = list(Stage).index(stage.stage)
        numbers["bfloat16"] = self.engine.dtype == torch.bfloat16
        if stage.stage is Stage.PRIOR:
            tensors |= {f"autoencoder.{k}": v for k, v in whole.autoencoder.state_dict().items()}
        write_checkpoint(self.run.state(stage.stage), Checkpoint(tensors, numbers))
        self.run.old_state.unlink(missing_ok=True)
        if leaving or self._publishing.due():
            with self._publishing:
                save_model(whole, self.run.model, styles=self._styles(whole, stage))
            self.emit(Saved(self.run.model, budget.clocks[stage.stage].images_seen))

    def _styles(self, whole: Impasto, stage: TrainingStage) -> Gaussian:
        """The pooled styles of all collections; in stage 2, where the autoencoder is frozen, computed once."""
        if stage.stage is Stage.PRIOR:
            self._final_styles = self._computed_styles(whole) if self._final_styles is None else self._final_styles
            return self._final_styles
        return self._computed_styles(whole)

    def _computed_styles(self, whole: Impasto) -> Gaussian:
        styles = collection_styles(whole.autoencoder, self.images, self.engine.device)
        names = self.images.collections
        rows = [self.kept_styles.get(name, styles[[row]]).to(self.engine.device) for row, name in enumerate(names)]
        return Gaussian.cat(rows)

    def _averaged(self, stage: TrainingStage) -> Impasto:
        """A model with the averaged weights of the stage in progress, and the present ones of the rest."""
        whole = Impasto(self.model.config)
        whole.load_state_dict(self.model.state_dict())
        if whole.caption_predictor is not None and (trained := stage.auxiliary.get("caption_predictor")) is not None:
            whole.caption_predictor.load_state_dict(trained.average.module.state_dict())
        part = whole.autoencoder if stage.stage is Stage.AUTOENCODER else whole.prior
        part.load_state_dict(stage.averaged())
        whole.prior.dtype = self.engine.dtype
        return channels_last(whole.to(self.engine.device)).eval()

    def _warn_of_collapsed_levels(self, scores: HeldOutScores) -> None:
        total = sum(scores.rates)
        for level, rate in zip(LEVEL_NAMES, scores.rates, strict=True):
            if rate < COLLAPSED_SHARE * total and level not in self.collapsed_levels:
                self.collapsed_levels.add(level)
                self.emit(Warned(f"level {level} collapses: {rate:.2f} of {total:.0f} nats"))
