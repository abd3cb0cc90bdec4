"""The training loop: for each stage evaluate, preview, save, stop?, step, log."""

import dataclasses
import time
from collections.abc import Callable, Sequence

from impasto.atomic import write_text_atomically
from impasto.config import TrainConfig
from impasto.data import ImageSet, prepare
from impasto.errors import ImpastoError
from impasto.events import Event, Finished, Listener, Note, Stage, Warned
from impasto.text import check_text_installed
from impasto.training.autoencoder_stage import AutoencoderStage
from impasto.training.begin import Start, begin
from impasto.training.budget import IntervalTimer, Speedometer, StageClock, clocks
from impasto.training.checkpoint import Checkpoint
from impasto.training.early_stop import EarlyStoppedPriorStage
from impasto.training.engine import Engine
from impasto.training.finetune import only_conditioning, predicted_captions
from impasto.training.log import json_log, tensorboard_log
from impasto.training.optimizer import below
from impasto.training.plan import plan
from impasto.training.prior_stage import LatentCache, PriorStage, captions_of
from impasto.training.run import Run, open_run
from impasto.training.snapshots import Snapshots
from impasto.training.stage import TrainingStage


def train(config: TrainConfig, listeners: Sequence[Listener] = (), cancel: Callable[[], bool] = lambda: False) -> Run:
    """Train a model on ``config.data`` into the run folder ``config.out``, or resume the run in it.

    Raises ImpastoError if the images or the folder are not usable, or memory runs out with single images.
    """
    started = time.monotonic()
    training = Training(config, listeners, cancel)
    complete = training.train()
    training.emit(Finished(training.run.folder, complete, time.monotonic() - started))
    return training.run


class Training:
    """A run in progress: its model, its clocks, its listeners."""

    def __init__(self, config: TrainConfig, listeners: Sequence[Listener], cancel: Callable[[], bool]) -> None:
        self.cancel = cancel
        if config.text:
            check_text_installed()
        self.engine = Engine(config.device, config.dtype)
        self.engine.check_batch(config.batch_size, "--batch-size")
        self.engine.check_batch(config.prior_batch_size, "--prior-batch-size")
        self.start: Start = begin(config, self.engine)
        self.config = self.start.config
        self.run: Run = open_run(config) if self.engine.is_main else Run(config.out)
        self.listeners: list[Listener] = list(listeners) if self.engine.is_main else []
        if self.engine.is_main:
            self.listeners.append(json_log(self.run.log))
            if config.tensorboard:
                self.listeners.append(tensorboard_log(self.run.folder / "tensorboard"))
        self.given = self._prepare()
        """The images of the folder."""
        self.images = self.start.images(self.given)
        """Those to train on."""
        if config.text and not any(entry.text for entry in self.images.entries):
            raise ImpastoError(f"--text: {config.data} has no captions; write them into metadata.jsonl.")
        self.model, part = self.start.model(self.images, self.engine)
        if self.start.initial is not None:
            self.emit(Note(f"{part:.0%} of the initial weights are those of {config.init}"))
        self.clocks = clocks(config)
        base = self.start.base
        kept_styles = {} if base is None else base.styles_except(self.given.collections)
        self.snapshots = Snapshots(self.run, self.engine, self.model, self.images, self.emit, kept_styles)

    def emit(self, event: Event) -> None:
        """Pass an event to every listener."""
        for listener in self.listeners:
            listener(event)

    def train(self) -> bool:
        """Run both stages from where the start leaves them; True if the budget is spent, False if cancelled."""
        saved = self.start.saved
        if saved is not None:
            self._restore_clocks(saved)
        if self.start.stage is Stage.AUTOENCODER:
            self.clocks[Stage.AUTOENCODER].start()
            first = self._autoencoder_stage(saved)
            if not self._run_stage(first):
                return False
            if Stage.PRIOR not in self.clocks:
                return True
            self.model.autoencoder.load_state_dict(first.averaged())
            del first
            saved = None
        else:
            assert saved is not None
            self.model.autoencoder.load_state_dict(below(saved.tensors, "autoencoder."))
        self.model.autoencoder.eval().requires_grad_(False)
        self.clocks[Stage.PRIOR].start()
        second = self._prior_stage(saved)
        complete = self._run_stage(second)
        if complete and self.start.base is not None and self.engine.is_main:
            # Against the split that was trained on.
            given = dataclasses.replace(self.given, held_out=self.images.held_out)
            self.snapshots.check_copies(second, given)
        return complete

    def _run_stage(self, stage: TrainingStage) -> bool:
        config, clock = self.config, self.clocks[stage.stage]
        step = clock.images_seen // stage.batch_size
        saving, showing = IntervalTimer(config.save_minutes), IntervalTimer(config.preview_minutes)
        speedometer = Speedometer(config, self.clocks)
        while True:
            clock.tick()
            # The main process decides for all: their clocks differ, and a process must not save while another trains.
            progress, stop, converged, save = self.engine.from_main(
                [clock.progress, self.cancel(), stage.converged, saving.due()]
            )
            over = progress >= 1 or converged > 0
            if self.engine.is_main and (over or showing.due()):
                with showing:
                    self.snapshots.preview(stage, clock)
            if over or stop or save:
                if self.engine.is_main:
                    with saving:
                        self.snapshots.save(stage, self.clocks, leaving=bool(over or stop))
                self.engine.wait()
            if over or stop:
                return over
            terms, warning = stage.step(step, clock.images_seen, progress)
            clock.images_seen += stage.batch_size
            step += 1
            if warning is not None:
                self.emit(Warned(warning))
            speedometer.add(stage.batch_size, terms)
            if (report := speedometer.read(stage.stage, stage.optimizer.skipped)) is not None:
                self.emit(report)

    def _autoencoder_stage(self, saved: Checkpoint | None) -> AutoencoderStage:
        stage = AutoencoderStage(self.config, self.engine, self.model.autoencoder, self.images)
        if self.start.is_untrained:
            stage.initialize()
        if saved is not None:
            stage.restore(saved)
        else:
            for line in plan(self.config, self.engine, self.model, stage, self.clocks):
                self.emit(Note(line))
        return stage

    def _prior_stage(self, saved: Checkpoint | None) -> PriorStage:
        config, images, base = self.config, self.images, self.start.base
        autoencoder, prior = self.model.autoencoder, self.model.prior
        if base is None:
            cache = LatentCache(autoencoder, images, self.engine)
            captions = captions_of(images, images.train) if config.text else None
            stage = PriorStage(config, self.engine, prior, cache, images, captions, self.model.caption_predictor)
        else:
            captions, held_out_captions = (
                predicted_captions(base, images, part, own=config.text) for part in (images.train, images.held_out)
            )
            stage = EarlyStoppedPriorStage(
                config, self.engine, only_conditioning(prior), autoencoder, images, captions, held_out_captions
            )
        if saved is not None:
            stage.restore(saved)
        return stage

    def _prepare(self) -> ImageSet:
        config = self.config
        settings = {
            "resolution": config.resolution,
            "fit": config.fit,
            "zoom": config.zoom,
            "cache": self.run.cache,
        }
        images = None
        if self.engine.is_main:
            images = prepare(config.data, **settings)
            write_text_atomically(self.run.audit, images.audit.to_json() + "\n")
            self.emit(Note(images.audit.text()))
            if texts := sorted({e.text for e in images.entries if e.text} if config.text else ()):
                write_text_atomically(self.run.captions, "\n".join(" ".join(text.split()) for text in texts) + "\n")
        self.engine.wait()
        return images or prepare(config.data, **settings)

    def _restore_clocks(self, saved: Checkpoint) -> None:
        self.engine.keep_dtype(bfloat16=bool(saved.numbers["bfloat16"]))
        for which, clock in self.clocks.items():
            clock.images_seen = int(saved.numbers[f"{which}.images_seen"])
            clock.seconds = saved.numbers[f"{which}.seconds"]
        clock: StageClock = self.clocks[self.start.stage]
        self.emit(Note(f"resuming after {clock.images_seen:,} images of stage {self.start.stage}"))
