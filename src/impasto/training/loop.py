"""The training loop: for each stage evaluate, preview, save, stop?, step, log."""

import dataclasses
import math
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from impasto.atomic import write_text_atomically
from impasto.config import TrainConfig
from impasto.data import ImageSet, prepare
from impasto.errors import ImpastoError
from impasto.events import Event, Finished, Listener, Note, Stage, Warned, Working
from impasto.text import check_text_installed
from impasto.training.autoencoder_stage import AutoencoderStage
from impasto.training.begin import Start, begin
from impasto.training.budget import Budget, IntervalTimer, ProcessorShare, Speedometer
from impasto.training.choice import Choice, choose
from impasto.training.early_stop import EarlyStoppedPriorStage
from impasto.training.engine import ALONE, Engine, Rank
from impasto.training.finetune import MAX_REPLAY_SHARE, only_conditioning, predicted_captions
from impasto.training.log import json_log, tensorboard_log
from impasto.training.optimizer import below
from impasto.training.plan import Plan, description, plan
from impasto.training.prior_stage import captions_of
from impasto.training.processes import together
from impasto.training.results import autoencoder_result, prior_result
from impasto.training.run import Run, open_run
from impasto.training.snapshots import Snapshots
from impasto.training.stage import TrainingStage


def train(config: TrainConfig, listeners: Sequence[Listener] = (), cancel: Callable[[], bool] = lambda: False) -> Run:
    """Train a model on ``config.data`` into the run folder ``config.out``, or resume the run in it.

    On a CPU other processes share the work, see `impasto.training.processes`. Raises ImpastoError if the images or the
    folder are not usable, the budget is too short, or memory runs out with single images.
    """
    started = time.monotonic()
    choice = choose(config)
    with _no_empty_run(config.out), together(choice.config) as rank:
        training = Training(choice, listeners, cancel, rank)
        complete = training.train()
        training.emit(Finished(training.run.folder, complete, time.monotonic() - started, tuple(training.results)))
    return training.run


@contextmanager
def _no_empty_run(folder: Path) -> Iterator[None]:
    """Remove the run folder again if training fails before it has saved anything."""
    existed, run = folder.exists(), Run(folder)
    is_empty = not existed or (folder.is_dir() and not any(folder.iterdir()))
    try:
        yield
    except BaseException:
        is_unsaved = not any(run.state(stage).exists() for stage in Stage)
        if is_empty and is_unsaved and folder.is_dir() and Rank.of_environment().index == 0:
            shutil.rmtree(folder, ignore_errors=True)
            if existed:
                folder.mkdir(exist_ok=True)
        raise


class Training:
    """A run in progress: its model, its budget, its listeners."""

    def __init__(
        self, choice: Choice, listeners: Sequence[Listener], cancel: Callable[[], bool], rank: Rank = ALONE
    ) -> None:
        config = choice.config
        self.cancel = cancel
        self.budget = Budget(config)
        self.results: list[str] = []
        """What each stage saw and how good it got, a line each."""
        if config.text:
            check_text_installed()
        self.engine = Engine(config.device, config.dtype, rank)
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
        for reason in choice.reasons:
            self.emit(Note(reason))
        self.given = self._prepare()
        """The images of the folder."""
        images = self.start.images(self.given, self._working("samples of the old styles"), self._is_enough_replay)
        self.images = dataclasses.replace(images, augment=config.augment)
        """Those to train on."""
        if config.text and not any(entry.text for entry in self.images.entries):
            raise ImpastoError(f"--text: {config.data} has no captions; write them into metadata.jsonl.")
        self.model, part = self.start.model(self.images, self.engine)
        if self.start.initial is not None:
            self.emit(Note(f"{part:.0%} of the initial weights are those of {config.init}"))
        base = self.start.base
        kept_styles = {} if base is None else base.styles_except(self.given.collections)
        self.snapshots = Snapshots(self.run, self.engine, self.model, self.images, self.emit, kept_styles)
        if self.start.saved:
            self._restore_budget()
        self.plan: Plan | None = None

    def emit(self, event: Event) -> None:
        """Pass an event to every listener."""
        for listener in self.listeners:
            listener(event)

    def train(self) -> bool:
        """Run both stages from where the start leaves them; True if the budget is spent, False if cancelled."""
        if self.start.stage is Stage.AUTOENCODER:
            first = self._autoencoder_stage()
            complete = self._run_stage(first)
            clock = self.budget.clocks[Stage.AUTOENCODER]
            self.results.append(autoencoder_result(first, clock, self.snapshots.held_out))
            if not complete or Stage.PRIOR not in self.budget.clocks:
                return complete
            self.model.autoencoder.load_state_dict(first.averaged())
            del first
        else:
            self.model.autoencoder.load_state_dict(below(self.start.saved[Stage.PRIOR].tensors, "autoencoder."))
        self.model.autoencoder.eval().requires_grad_(False)
        second = self._prior_stage()
        complete = self._run_stage(second)
        line, warning = prior_result(second, self.budget.clocks[Stage.PRIOR], self.config)
        self.results.append(line)
        if complete and warning is not None:
            self.emit(Warned(warning))
        if complete and self.engine.is_main:
            # Against the split that was trained on.
            given = dataclasses.replace(self.given, held_out=self.images.held_out)
            self.results.append(self.snapshots.check_copies(second, given))
        return complete

    def _run_stage(self, stage: TrainingStage) -> bool:
        config, clock = self.config, self.budget.clocks[stage.stage]
        step = clock.images_seen // stage.batch_size
        saving, showing = IntervalTimer(config.save_minutes), IntervalTimer(config.preview_minutes)
        speedometer, disturbances = Speedometer(self.budget), ProcessorShare(self.engine.num_threads)
        clock.limit = self._limit_of(stage.stage)
        clock.start()
        while True:
            clock.tick()
            # The main process decides for all: their clocks differ, and a process must not save while another trains.
            progress, stop, converged, save = self.engine.from_main(
                [clock.progress, self.cancel(), stage.converged, saving.due()]
            )
            over = progress >= 1 or converged > 0
            if over or stop:
                clock.stop()
            if over:
                stage.finish()
            if self.engine.is_main and (over or showing.due()):
                with showing:
                    self.snapshots.preview(stage, clock)
            if over or stop or save:
                if self.engine.is_main:
                    with saving:
                        self.snapshots.save(stage, self.budget, leaving=bool(over or stop))
                self.engine.wait()
            if over or stop:
                return over
            terms, warning = stage.step(step, clock.images_seen, progress)
            clock.images_seen += stage.batch_size
            step += 1
            if warning is not None:
                self.emit(Warned(warning))
            speedometer.add(stage.batch_size, terms)
            if (report := speedometer.read(stage.stage, lambda: stage.optimizer.skipped)) is not None:
                self.emit(report)
                if (disturbance := disturbances.warning(report)) is not None:
                    self.emit(Warned(disturbance))

    def _limit_of(self, stage: Stage) -> float:
        """The limit of a stage; enough for the fewest updates even if what came before took longer than planned."""
        limit = self.budget.limit_of(stage)
        if self.plan is None or self.budget.counts_images:
            return max(limit, 1.0)
        fewest = self.plan.min_seconds(stage)
        if limit < fewest:
            updates = self.plan.min_updates(stage)
            self.emit(Warned(f"everything takes longer than planned: stage {stage} still makes {updates} updates"))
        return max(limit, fewest, 1.0)

    def _autoencoder_stage(self) -> AutoencoderStage:
        stage = AutoencoderStage(self.config, self.engine, self.model.autoencoder, self.images)
        if self.start.is_untrained:
            stage.initialize()
        saved = self.start.saved.get(Stage.AUTOENCODER)
        if saved is not None:
            stage.restore(saved)
        self.plan = plan(self.config, self.engine, self.model, stage, self.images, self.budget)
        for line in description(self.config, self.engine, self.model, stage):
            self.emit(Note(line))
        if saved is None and self.engine.is_main:
            self.plan.check()
        for line in self.plan.lines():
            self.emit(Note(line))
        return stage

    def _prior_stage(self) -> EarlyStoppedPriorStage:
        config, images, base = self.config, self.images, self.start.base
        autoencoder, prior = self.model.autoencoder, self.model.prior
        if base is None:
            captions, held_out_captions = (
                captions_of(images, part) if config.text else None for part in (images.train, images.held_out)
            )
            predictor = self.model.caption_predictor
        else:
            captions, held_out_captions = (
                predicted_captions(base, images, part, own=config.text) for part in (images.train, images.held_out)
            )
            prior, predictor = only_conditioning(prior), None
        stage = EarlyStoppedPriorStage(
            config,
            self.engine,
            prior,
            autoencoder,
            images,
            captions,
            held_out_captions,
            predictor,
            progress=self._working("latents"),
        )
        if (saved := self.start.saved.get(Stage.PRIOR)) is not None:
            stage.restore(saved)
        if saved is None or self.start.is_lengthened:
            stage.start_evaluation()
        return stage

    def _prepare(self) -> ImageSet:
        config = self.config
        assert config.resolution is not None
        settings = {
            "resolution": config.resolution,
            "fit": config.fit,
            "zoom": config.zoom,
            "cache": self.run.cache,
        }
        images = None
        if self.engine.is_main:
            images = prepare(config.data, **settings, progress=self._working("reading images"))
            write_text_atomically(self.run.audit, images.audit.to_json() + "\n")
            self.emit(Note(images.audit.text()))
            if texts := sorted({e.text for e in images.entries if e.text} if config.text else ()):
                write_text_atomically(self.run.captions, "\n".join(" ".join(text.split()) for text in texts) + "\n")
        self.engine.connect()
        return images or prepare(config.data, **settings)

    def _is_enough_replay(self, seconds: float) -> bool:
        limit = math.inf if self.budget.counts_images else MAX_REPLAY_SHARE * self.budget.total
        return bool(self.engine.from_main([seconds > limit])[0])

    def _working(self, task: str) -> Callable[[int, int], None]:
        return lambda done, total: self.emit(Working(task, done, total))

    def _restore_budget(self) -> None:
        numbers = self.start.numbers
        self.engine.keep_dtype(bfloat16=bool(numbers["bfloat16"]))
        self.budget.restore(numbers)
        seen = self.budget.clocks[self.start.stage].images_seen
        self.emit(Note(f"resuming after {seen:,} images of stage {self.start.stage}"))
        if self.start.is_lengthened:
            self.emit(Note("the budget has grown: both stages get their share of it"))
        elif self.start.stage is Stage.PRIOR and Stage.AUTOENCODER not in self.start.saved:
            self.emit(Note("version 0.1 kept no state of stage autoencoder: all additional time goes to stage prior"))
