"""What a run shows and keeps of itself on the way: preview sheets, held-out scores, complete states and models."""

from collections.abc import Callable, Mapping

import torch

from impasto.atomic import write_atomically
from impasto.data import PictureSet
from impasto.events import Event, Note, Previewed, Saved, Stage, Warned
from impasto.model.autoencoder import LEVEL_NAMES
from impasto.model.blocks import channels_last
from impasto.model.impasto import Impasto, save_model
from impasto.training.budget import StageClock
from impasto.training.checkpoint import Checkpoint, write_checkpoint
from impasto.training.chore import Chore
from impasto.training.copy_check import check_copies
from impasto.training.engine import Engine
from impasto.training.measure import HeldOutScores, SampleMeter, held_out_scores
from impasto.training.preview import collection_styles, preview
from impasto.training.run import Run
from impasto.training.stage import TrainingStage

SETTLED = 0.2
"""Part of stage 1 after which every level should carry something."""
DYING = 0.01
"""A level with less than this part of the rate is reported."""


class Snapshots:
    """Writes into the run folder, always of averaged weights, and tells what it wrote."""

    def __init__(
        self,
        run: Run,
        engine: Engine,
        model: Impasto,
        pictures: PictureSet,
        tell: Callable[[Event], None],
        kept_styles: Mapping[str, torch.Tensor],
    ) -> None:
        """``kept_styles`` are known of old: mean and log-variance, (2, style_dim), by collection."""
        self.run = run
        self.engine = engine
        self.model = model
        self.pictures = pictures
        self.tell = tell
        self.kept_styles = kept_styles
        self.dead_levels: set[str] = set()
        self._meter: SampleMeter | None = None
        self._publishing = Chore(minutes=0)
        self._final_styles: torch.Tensor | None = None

    def preview(self, stage: TrainingStage, clock: StageClock) -> None:
        """The sheet of pictures, and in stage 1 the scores of held-out ones."""
        whole = self._averaged(stage)
        sampled = (whole.prior, self._styles(whole, stage)) if stage.stage is Stage.PRIOR else None
        sheet = preview(whole.autoencoder, self.pictures, self.engine.device, sampled)
        path = self.run.previews / f"{stage.stage}-{clock.images_seen:09d}.png"
        write_atomically(path, lambda temporary: sheet.save(temporary))
        self.tell(Previewed(path))
        if stage.stage is Stage.AUTOENCODER:
            scores = held_out_scores(whole.autoencoder, self.pictures, self.engine.device)
            self.tell(Note(scores.text()))
            if clock.progress > SETTLED:
                self._warn_of_dying_levels(scores)

    def measure(self, stage: TrainingStage) -> None:
        """Scores of samples, once there is a prior."""
        if stage.stage is Stage.AUTOENCODER:
            return
        self._meter = self._meter or SampleMeter(self.pictures, self.engine.device)
        whole = self._averaged(stage)
        self.tell(Note(self._meter.text(whole, self._styles(whole, stage))))

    def check_copies(self, stage: TrainingStage, given: PictureSet) -> None:
        """Whether new pictures are new: a line, and a sheet of those closest to the pictures of ``given``."""
        whole = self._averaged(stage)
        rows = [self.pictures.collections.index(name) for name in given.collections]
        line, sheet = check_copies(whole, self._styles(whole, stage)[rows], given, seed=0)
        path = self.run.previews / "copies.png"
        write_atomically(path, lambda temporary: sheet.save(temporary))
        self.tell(Note(line))
        self.tell(Previewed(path))

    def save(self, stage: TrainingStage, clocks: dict[Stage, StageClock], *, leaving: bool) -> None:
        """The complete state, then the model as it can be used now.

        With many collections it takes long to see their styles: before ``leaving`` that is not done at every save.
        """
        whole, state = self._averaged(stage), stage.state()
        tensors, numbers = state.tensors, dict(state.numbers)
        numbers["stage"] = list(Stage).index(stage.stage)
        numbers["bfloat16"] = self.engine.precision == torch.bfloat16
        for which, clock in clocks.items():
            numbers |= {f"{which}.images_seen": clock.images_seen, f"{which}.seconds": clock.seconds}
        if stage.stage is Stage.PRIOR:
            tensors |= {f"autoencoder.{k}": v for k, v in whole.autoencoder.state_dict().items()}
        write_checkpoint(self.run.state, Checkpoint(tensors, numbers))
        if leaving or self._publishing.due():
            with self._publishing:
                save_model(whole, self.run.model, styles=self._styles(whole, stage))
            self.tell(Saved(self.run.model, clocks[stage.stage].images_seen))

    def _styles(self, whole: Impasto, stage: TrainingStage) -> torch.Tensor:
        """Those of all collections; in stage 2 the autoencoder stays as it is, and so do they."""
        if stage.stage is Stage.PRIOR:
            self._final_styles = self._seen_styles(whole) if self._final_styles is None else self._final_styles
            return self._final_styles
        return self._seen_styles(whole)

    def _seen_styles(self, whole: Impasto) -> torch.Tensor:
        styles = collection_styles(whole.autoencoder, self.pictures, self.engine.device)
        for row, name in enumerate(self.pictures.collections):
            if name in self.kept_styles:
                styles[row] = self.kept_styles[name].to(styles)
        return styles

    def _averaged(self, stage: TrainingStage) -> Impasto:
        """A model with the averaged weights of the stage in progress, and the rest as it stands."""
        whole = Impasto(self.model.config)
        whole.load_state_dict(self.model.state_dict())
        if whole.captions is not None and "captions" in stage.assistants:
            whole.captions.load_state_dict(stage.assistants["captions"].average.module.state_dict())
        part = whole.autoencoder if stage.stage is Stage.AUTOENCODER else whole.prior
        part.load_state_dict(stage.averaged())
        whole.prior.precision = self.engine.precision
        return channels_last(whole.to(self.engine.device)).eval()

    def _warn_of_dying_levels(self, scores: HeldOutScores) -> None:
        total = sum(scores.rates)
        for level, rate in zip(LEVEL_NAMES, scores.rates, strict=True):
            if rate < DYING * total and level not in self.dead_levels:
                self.dead_levels.add(level)
                self.tell(Warned(f"level {level} is dying: {rate:.2f} of {total:.0f} nats"))
