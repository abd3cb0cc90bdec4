"""The training loop: prepare, then for each stage evaluate, preview, save, stop?, step, tell."""

import time
from collections.abc import Callable, Sequence

import torch

from impasto.atomic import write_atomically, write_text_atomically
from impasto.config import TrainConfig, sized_model
from impasto.data import PictureSet, prepare
from impasto.events import Event, Finished, Listener, Note, Previewed, Saved, Stage, Stepped, Warned
from impasto.model.autoencoder import LEVEL_NAMES, Autoencoder
from impasto.model.blocks import channels_last
from impasto.model.impasto import Impasto, save_model
from impasto.model.prior import PriorFlow
from impasto.training.autoencoder_stage import AutoencoderStage
from impasto.training.budget import clocks
from impasto.training.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from impasto.training.engine import Engine
from impasto.training.log import json_log, tensorboard_log
from impasto.training.measure import held_out_scores
from impasto.training.optimizer import below
from impasto.training.plan import plan
from impasto.training.preview import collection_styles, preview
from impasto.training.prior_stage import PriorStage
from impasto.training.run import Run, open_run
from impasto.training.seeds import seed_of
from impasto.training.stage import TrainingStage

TELL_SECONDS = 0.5
"""Between two events about steps: a listener needs no more, and reading the loss costs time on a GPU."""


class _Since:
    """Pictures and terms since the last event about steps."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._pictures = self._updates = 0
        self._sums: dict[str, float] = {}

    def add(self, pictures: int, terms: dict[str, float]) -> None:
        """Count one step; ``terms`` is empty where its update was skipped."""
        self._pictures += pictures
        self._updates += bool(terms)
        for name, value in terms.items():
            self._sums[name] = self._sums.get(name, 0.0) + value

    @property
    def seconds(self) -> float:
        """Since the last event."""
        return time.monotonic() - self._start

    @property
    def images_per_second(self) -> float:
        """Over that time."""
        return self._pictures / max(self.seconds, 1e-9)

    def means(self) -> dict[str, float]:
        """The terms, averaged over the updates that were not skipped."""
        return {name: value / self._updates for name, value in self._sums.items()}


class Training:
    """A run in progress: its model, its clocks, its listeners."""

    def __init__(self, config: TrainConfig, listeners: Sequence[Listener], cancel: Callable[[], bool]) -> None:
        self.config = config
        self.cancel = cancel
        self.engine = Engine(config.device)
        self.engine.check_batch(config.batch_size, "--batch-size")
        self.engine.check_batch(config.prior_batch_size, "--prior-batch-size")
        self.run: Run = open_run(config) if self.engine.is_main else Run(config.out)
        self.listeners: list[Listener] = list(listeners) if self.engine.is_main else []
        if self.engine.is_main:
            self.listeners.append(json_log(self.run.log))
            if config.tensorboard:
                self.listeners.append(tensorboard_log(self.run.folder / "tensorboard"))
        self.pictures = self._prepare()
        model_config = sized_model(
            config.size,
            channels=self.pictures.channels,
            resolution=config.resolution,
            collections=self.pictures.collections,
        )
        torch.manual_seed(seed_of(config.seed, "weights"))
        self.model = channels_last(Impasto(model_config).to(self.engine.device))
        self.clocks = clocks(config)
        self.dead_levels: set[str] = set()

    def _prepare(self) -> PictureSet:
        config = self.config
        settings = {"resolution": config.resolution, "fit": config.fit, "cache": self.run.cache}
        pictures = None
        if self.engine.is_main:
            pictures = prepare(config.pictures, **settings)
            write_text_atomically(self.run.audit, pictures.audit.to_json() + "\n")
            self.tell(Note(pictures.audit.text()))
        self.engine.wait()
        return pictures or prepare(config.pictures, **settings)

    def tell(self, event: Event) -> None:
        """Pass an event to every listener."""
        for listener in self.listeners:
            listener(event)

    def train(self) -> bool:
        """Both stages, from wherever the saved state left them; True when the budget is spent, False when cancelled."""
        saved = read_checkpoint(self.run.state)
        if saved is not None:
            self.engine.keep_precision(bool(saved.numbers["bfloat16"]))
            self._restore_clocks(saved)
        if saved is None or saved.numbers["stage"] == 0:
            first = AutoencoderStage(self.config, self.engine, self.model.autoencoder, self.pictures)
            if saved is not None:
                first.restore(saved)
            else:
                self._start_from_mean()
                for line in plan(self.config, self.engine, self.model, first, self.clocks):
                    self.tell(Note(line))
            if not self._run_stage(first):
                return False
            self.model.autoencoder.load_state_dict(first.optimizer.average.module.state_dict())
            del first
            saved = None
        else:
            self.model.autoencoder.load_state_dict(below(saved.tensors, "autoencoder."))
        self.model.autoencoder.eval().requires_grad_(False)
        self.clocks[Stage.PRIOR].start()
        second = PriorStage(self.config, self.engine, self.model.prior, self.model.autoencoder, self.pictures)
        if saved is not None:
            second.restore(saved)
        return self._run_stage(second)

    def _restore_clocks(self, saved: Checkpoint) -> None:
        for which, clock in self.clocks.items():
            clock.images_seen = int(saved.numbers[f"{which}.images_seen"])
            clock.seconds = saved.numbers[f"{which}.seconds"]
        stage = list(Stage)[int(saved.numbers["stage"])]
        self.tell(Note(f"resuming after {self.clocks[stage].images_seen:,} pictures of stage {stage}"))

    def _start_from_mean(self) -> None:
        some = self.pictures.train[:: max(1, len(self.pictures.train) // 256)]
        mean = torch.from_numpy(self.pictures.batch(some)).float().mean((0, 2, 3)) / 255
        self.model.autoencoder.decoder.start_from(mean.to(self.engine.device))

    def _run_stage(self, stage: TrainingStage) -> bool:
        config, clock = self.config, self.clocks[stage.stage]
        clock.start()
        step = clock.images_seen // stage.batch_size
        last_saved = last_preview = time.monotonic()
        since = _Since()
        while True:
            clock.tick()
            progress, stop = self.engine.from_main([clock.progress, float(self.cancel())])
            now = time.monotonic()
            over = progress >= 1
            if over or now - last_preview >= 60 * config.preview_minutes:
                self._preview(stage)
                last_preview = now
            if over or stop or now - last_saved >= 60 * config.save_minutes:
                self._save(stage)
                last_saved = time.monotonic()
            if over or stop:
                return over
            terms, warning = stage.step(step, clock.images_seen, progress)
            clock.images_seen += stage.batch_size
            since.add(stage.batch_size, terms)
            step += 1
            if warning is not None:
                self.tell(Warned(warning))
            if since.seconds >= TELL_SECONDS or clock.progress >= 1:
                self._tell_step(stage, since)
                since = _Since()

    def _tell_step(self, stage: TrainingStage, since: "_Since") -> None:
        clock = self.clocks[stage.stage]
        clock.tick()
        shares = {Stage.AUTOENCODER: self.config.stage1_share, Stage.PRIOR: 1 - self.config.stage1_share}
        before = self.config.stage1_share if stage.stage is Stage.PRIOR else 0.0
        total = before + shares[stage.stage] * min(1.0, clock.progress)
        rest = clock.seconds_left
        if stage.stage is Stage.AUTOENCODER:
            other = self.clocks[Stage.PRIOR]
            rest += other.limit / since.images_per_second if other.counts_images else other.limit
        self.tell(
            Stepped(
                stage=stage.stage,
                images_seen=clock.images_seen,
                stage_progress=clock.progress,
                total_progress=total,
                seconds_left=rest,
                images_per_second=since.images_per_second,
                terms=since.means(),
                skipped_updates=stage.optimizer.skipped,
            )
        )

    def _preview(self, stage: TrainingStage) -> None:
        if not self.engine.is_main:
            return
        clock = self.clocks[stage.stage]
        if stage.stage is Stage.AUTOENCODER:
            autoencoder, prior = stage.optimizer.average.module, None
        else:
            autoencoder, prior = self.model.autoencoder, stage.optimizer.average.module
        assert isinstance(autoencoder, Autoencoder) and (prior is None or isinstance(prior, PriorFlow))
        sheet = preview(autoencoder, prior, self.pictures, self.engine.device)
        path = self.run.previews / f"{stage.stage}-{clock.images_seen:09d}.png"
        write_atomically(path, lambda temporary: sheet.save(temporary))
        self.tell(Previewed(path))
        if stage.stage is Stage.AUTOENCODER:
            scores = held_out_scores(autoencoder, self.pictures, self.engine.device)
            self.tell(Note(scores.text()))
            for level, rate in zip(LEVEL_NAMES, scores.rates, strict=True):
                if clock.progress > 0.2 and rate < 0.01 * sum(scores.rates) and level not in self.dead_levels:
                    self.dead_levels.add(level)
                    self.tell(Warned(f"level {level} is dying: {rate:.2f} of {sum(scores.rates):.0f} nats"))

    def _save(self, stage: TrainingStage) -> None:
        if self.engine.is_main:
            state = stage.state()
            tensors, numbers = state.tensors, dict(state.numbers)
            numbers["stage"] = list(Stage).index(stage.stage)
            numbers["bfloat16"] = self.engine.precision == torch.bfloat16
            for which, clock in self.clocks.items():
                numbers |= {f"{which}.images_seen": clock.images_seen, f"{which}.seconds": clock.seconds}
            whole = Impasto(self.model.config)
            if stage.stage is Stage.AUTOENCODER:
                whole.autoencoder.load_state_dict(stage.optimizer.average.module.state_dict())
                whole.prior.load_state_dict(self.model.prior.state_dict())
            else:
                whole.autoencoder.load_state_dict(self.model.autoencoder.state_dict())
                whole.prior.load_state_dict(stage.optimizer.average.module.state_dict())
                tensors |= {f"autoencoder.{k}": v for k, v in whole.autoencoder.state_dict().items()}
            write_checkpoint(self.run.state, Checkpoint(tensors, numbers))
            channels_last(whole.to(self.engine.device))
            styles = collection_styles(whole.autoencoder, self.pictures, self.engine.device)
            save_model(whole, self.run.model, styles=styles)
            self.tell(Saved(self.run.model, self.clocks[stage.stage].images_seen))
        self.engine.wait()


def train(config: TrainConfig, listeners: Sequence[Listener] = (), cancel: Callable[[], bool] = lambda: False) -> Run:
    """Train a model on ``config.pictures`` into the run folder ``config.out``, or resume what is there.

    Raises ImpastoError when the pictures or the folder are not usable, and when memory runs out with single pictures.
    """
    began = time.monotonic()
    training = Training(config, listeners, cancel)
    complete = training.train()
    training.tell(Finished(training.run.folder, complete, time.monotonic() - began))
    return training.run
