"""The training loop: prepare, then for each stage evaluate, preview, save, stop?, step, tell."""

import dataclasses
import time
from collections.abc import Callable, Sequence

import torch

from impasto.atomic import write_text_atomically
from impasto.config import ModelConfig, TrainConfig, sized_model
from impasto.data import PictureSet, prepare
from impasto.errors import ImpastoError
from impasto.evaluate.judge import check_installed
from impasto.events import Event, Finished, Listener, Note, Stage, Warned
from impasto.model.blocks import channels_last
from impasto.model.impasto import Impasto
from impasto.text import TEXT_DIM, check_text_installed
from impasto.training.adapt import adapting, captions_read, only_conditioning, read_base, with_replay
from impasto.training.autoencoder_stage import AutoencoderStage
from impasto.training.budget import clocks
from impasto.training.captions import captions_of
from impasto.training.checkpoint import Checkpoint, read_checkpoint
from impasto.training.chore import Chore
from impasto.training.early_stop import PatientPriorStage
from impasto.training.engine import Engine
from impasto.training.log import json_log, tensorboard_log
from impasto.training.meter import Meter
from impasto.training.optimizer import below
from impasto.training.plan import plan
from impasto.training.prior_stage import LatentCache, PriorStage
from impasto.training.run import Run, open_run
from impasto.training.seeds import seed_of
from impasto.training.snapshots import Snapshots
from impasto.training.stage import TrainingStage
from impasto.training.warm_start import begin_with, read_start


class Training:
    """A run in progress: its model, its clocks, its listeners."""

    def __init__(self, config: TrainConfig, listeners: Sequence[Listener], cancel: Callable[[], bool]) -> None:
        self.config = config
        self.cancel = cancel
        if config.measure_minutes > 0:
            check_installed()
        if config.text:
            check_text_installed()
        self.engine = Engine(config.device)
        self.engine.check_batch(config.batch_size, "--batch-size")
        self.engine.check_batch(config.prior_batch_size, "--prior-batch-size")
        self.base = read_base(config.init, self.engine.device) if config.init is not None else None
        if self.base is not None:
            self.config = adapting(config, self.base)
        self.saved = read_checkpoint(Run(config.out).state)
        """Where to go on; None for a run that begins."""
        self.start = None
        if config.start_from is not None and (self.saved is None or self.saved.numbers["stage"] == 0):
            self.start = read_start(config.start_from, self._shape(channels=3, collections=()), config.prior_stays)
        self.run: Run = open_run(config) if self.engine.is_main else Run(config.out)
        self.listeners: list[Listener] = list(listeners) if self.engine.is_main else []
        if self.engine.is_main:
            self.listeners.append(json_log(self.run.log))
            if config.tensorboard:
                self.listeners.append(tensorboard_log(self.run.folder / "tensorboard"))
        self.given = self._prepare()
        """The pictures of the folder."""
        self.pictures = self.given if self.base is None else with_replay(self.given, self.base, config.seed)
        """Those to train on."""
        if config.text and not any(entry.text for entry in self.pictures.entries):
            raise ImpastoError(f"--text: {config.pictures} has no captions; write them into metadata.jsonl.")
        torch.manual_seed(seed_of(config.seed, "weights"))
        self.model = channels_last(self._first_model().to(self.engine.device))
        self.clocks = clocks(config)
        kept_styles = {} if self.base is None else self.base.styles_beside(self.given.collections)
        self.snapshots = Snapshots(self.run, self.engine, self.model, self.pictures, self.tell, kept_styles)

    def _first_model(self) -> Impasto:
        """Untrained, or a copy of the one to begin with, which knows more collections now."""
        if self.base is not None:
            network = self.base.network
            model = Impasto(dataclasses.replace(network.config, collections=self.pictures.collections))
            model.load_state_dict(network.state_dict())
            return model
        return Impasto(self._shape(self.pictures.channels, self.pictures.collections))

    def _shape(self, channels: int, collections: tuple[str, ...]) -> ModelConfig:
        return sized_model(
            self.config.size,
            prior_size=self.config.prior_size,
            channels=channels,
            resolution=self.config.resolution,
            collections=collections,
            text_dim=TEXT_DIM if self.config.text else 0,
            linear_experts=self.config.linear_start,
            signed_edges=self.config.signed_edges,
            redraws_alone=self.config.objective.twin_weight > 0,
        )

    def _prepare(self) -> PictureSet:
        config = self.config
        settings = {
            "resolution": config.resolution,
            "fit": config.fit,
            "zoom": config.zoom,
            "cache": self.run.cache,
        }
        pictures = None
        if self.engine.is_main:
            pictures = prepare(config.pictures, **settings)
            write_text_atomically(self.run.audit, pictures.audit.to_json() + "\n")
            self.tell(Note(pictures.audit.text()))
            if texts := sorted({e.text for e in pictures.entries if e.text} if config.text else ()):
                write_text_atomically(self.run.captions, "\n".join(" ".join(text.split()) for text in texts) + "\n")
        self.engine.wait()
        return pictures or prepare(config.pictures, **settings)

    def tell(self, event: Event) -> None:
        """Pass an event to every listener."""
        for listener in self.listeners:
            listener(event)

    def train(self) -> bool:
        """Both stages, from wherever the saved state left them; True when the budget is spent, False when cancelled."""
        saved, self.saved = self.saved, None
        if saved is not None:
            self.engine.keep_precision(bool(saved.numbers["bfloat16"]))
            self._restore_clocks(saved)
        if saved is None or saved.numbers["stage"] == 0:
            self.clocks[Stage.AUTOENCODER].start()
            first = AutoencoderStage(self.config, self.engine, self.model.autoencoder, self.pictures)
            if self.start is not None:
                # On resuming too: what stage 2 begins with is no part of stage 1's state.
                part, self.start = begin_with(self.model, self.start), None
                self.tell(Note(f"{part:.0%} of the first weights are those of {self.config.start_from}"))
            elif self.base is None and saved is None:
                first.begin()
            if saved is not None:
                first.restore(saved)
            else:
                for line in plan(self.config, self.engine, self.model, first, self.clocks):
                    self.tell(Note(line))
            if not self._run_stage(first):
                return False
            if Stage.PRIOR not in self.clocks:
                return True
            self.model.autoencoder.load_state_dict(first.averaged())
            del first
            saved = None
        else:
            self.model.autoencoder.load_state_dict(below(saved.tensors, "autoencoder."))
        self.model.autoencoder.eval().requires_grad_(False)
        self.clocks[Stage.PRIOR].start()
        second = self._prior_stage()
        if saved is not None:
            second.restore(saved)
        complete = self._run_stage(second)
        if complete and self.base is not None and self.engine.is_main:
            # With the split that was learned from.
            given = dataclasses.replace(self.given, held_out=self.pictures.held_out)
            self.snapshots.check_copies(second, given)
        return complete

    def _prior_stage(self) -> PriorStage:
        config, autoencoder, pictures = self.config, self.model.autoencoder, self.pictures
        if self.base is None:
            cache = LatentCache(autoencoder, pictures, self.engine)
            captions = captions_of(pictures, pictures.train) if config.text else None
            return PriorStage(config, self.engine, self.model.prior, cache, pictures, captions, self.model.captions)
        captions, held_out = (
            captions_read(self.base, pictures, part, said=config.text) for part in (pictures.train, pictures.held_out)
        )
        prior = only_conditioning(self.model.prior)
        return PatientPriorStage(config, self.engine, prior, autoencoder, pictures, captions, held_out)

    def _restore_clocks(self, saved: Checkpoint) -> None:
        for which, clock in self.clocks.items():
            clock.images_seen = int(saved.numbers[f"{which}.images_seen"])
            clock.seconds = saved.numbers[f"{which}.seconds"]
        stage = list(Stage)[int(saved.numbers["stage"])]
        self.tell(Note(f"resuming after {self.clocks[stage].images_seen:,} pictures of stage {stage}"))

    def _run_stage(self, stage: TrainingStage) -> bool:
        config, clock = self.config, self.clocks[stage.stage]
        step = clock.images_seen // stage.batch_size
        saving, showing, measuring = map(Chore, (config.save_minutes, config.preview_minutes, config.measure_minutes))
        meter = Meter(config, self.clocks)
        while True:
            clock.tick()
            # One decides for all: where clocks differ, a process that saves would wait for one that trains, for ever.
            progress, stop, settled, saves = self.engine.from_main(
                [clock.progress, self.cancel(), stage.settled, saving.due()]
            )
            over = progress >= 1 or settled > 0
            if self.engine.is_main and (over or showing.due()):
                with showing:
                    self.snapshots.preview(stage, clock)
            if self.engine.is_main and config.measure_minutes > 0 and (over or measuring.due()):
                with measuring:
                    self.snapshots.measure(stage)
            if over or stop or saves:
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
                self.tell(Warned(warning))
            meter.add(stage.batch_size, terms)
            if (stepped := meter.read(stage)) is not None:
                self.tell(stepped)


def train(config: TrainConfig, listeners: Sequence[Listener] = (), cancel: Callable[[], bool] = lambda: False) -> Run:
    """Train a model on ``config.pictures`` into the run folder ``config.out``, or resume what is there.

    Raises ImpastoError when the pictures or the folder are not usable, and when memory runs out with single pictures.
    """
    began = time.monotonic()
    training = Training(config, listeners, cancel)
    complete = training.train()
    training.tell(Finished(training.run.folder, complete, time.monotonic() - began))
    return training.run
