"""The plan of a run, measured before it starts: speed, memory, and how the budget is shared."""

import dataclasses
import itertools
import math
import time
from collections.abc import Callable, Iterator

import torch
from torch import nn

from impasto.config import Sampling, TrainConfig
from impasto.create.generate import unconditional
from impasto.create.sampling import sample_condition
from impasto.data import ImageSet
from impasto.errors import ImpastoError
from impasto.events import Stage
from impasto.memory import memory_text
from impasto.model.blocks import to_images
from impasto.model.impasto import Impasto
from impasto.model.prior import Condition
from impasto.model.sampler import draw_noise
from impasto.objective.flow import flow_matching_loss
from impasto.training import copy_check, preview
from impasto.training.autoencoder_stage import AutoencoderStage
from impasto.training.budget import Budget
from impasto.training.engine import Engine
from impasto.training.prior_stage import num_crops

UPDATE_SHARE = 1.1
"""Cost of a whole step, with optimizer and moving average, against forward and backward alone."""
MIN_UPDATES = 25
"""Updates of a stage below which a budget is refused."""
MIN_UPDATES_OF_TRAINED = 10
"""The same for a stage 1 that begins with a trained autoencoder."""
SAFETY = 1.25
"""Factor of the budget that is advised instead."""
PROBED = 4
"""Images of which encoding, decoding and sampling are timed."""
BYTES_PER_SECOND = 200e6
"""Assumed speed of writing weights and states."""
BYTES_PER_WEIGHT = 24
"""Written at the end of a stage: the weights, their average, two moments, the best average, and the model."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """Measured speeds of a training on this machine."""

    config: TrainConfig
    budget: Budget
    seconds_per_image: dict[Stage, float]
    """Of the steps of each stage."""
    num_images: int
    """Training images."""

    def updates(self, stage: Stage) -> float:
        """The updates of ``stage`` that the budget allows."""
        limit = self.budget.limit_of(stage)
        images = limit if self.budget.counts_images else limit / self.seconds_per_image[stage]
        return images / self._batch_size(stage)

    def min_updates(self, stage: Stage) -> int:
        """The updates of ``stage`` that a budget must allow."""
        is_trained = self.config.init is not None or self.config.finetune is not None
        return MIN_UPDATES_OF_TRAINED if stage is Stage.AUTOENCODER and is_trained else MIN_UPDATES

    def min_seconds(self, stage: Stage) -> float:
        """The time that they take."""
        return self.min_updates(stage) * self._batch_size(stage) * self.seconds_per_image[stage]

    def _batch_size(self, stage: Stage) -> int:
        return self.config.batch_size if stage is Stage.AUTOENCODER else self.config.prior_batch_size

    def check(self) -> None:
        """Raise ImpastoError, naming the minutes that suffice, if the budget is too short for both stages to learn."""
        if self.budget.counts_images or all(
            self.updates(stage) >= self.min_updates(stage) for stage in self.budget.shares
        ):
            return
        overhead = self.budget.overhead + sum(self.budget.expected_after.values())
        steps = max(self.min_seconds(stage) / share for stage, share in self.budget.shares.items())
        enough = SAFETY * (overhead + steps) / 60
        raise ImpastoError(
            f"--minutes {self.budget.total / 60:g} is too short here: preparation and checks take about "
            f"{overhead / 60:.1f} minutes, and the rest is not enough to learn anything; use --minutes "
            f"{math.ceil(enough) if enough > 1 else math.ceil(10 * enough) / 10:g} or more, or a smaller --size."
        )

    def lines(self) -> Iterator[str]:
        """How the budget is shared, for a person."""
        for stage in self.budget.shares:
            images = self.updates(stage) * self._batch_size(stage)
            speed = 1 / self.seconds_per_image[stage]
            yield (
                f"stage {stage}: about {speed:.0f} images/s, {_rounded(images)} images "
                f"({images / self.num_images:.1f} times each) in {images / speed / 60:.1f} minutes"
            )
        after = sum(self.budget.expected_after.values())
        if not self.budget.counts_images:
            yield (
                f"the rest of the {self.budget.total / 60:g} minutes: {self.budget.overhead / 60:.1f} for preparation, "
                f"about {after / 60:.1f} for previews, latents, the copy check and saving"
            )


def plan(
    config: TrainConfig, engine: Engine, model: Impasto, stage: AutoencoderStage, images: ImageSet, budget: Budget
) -> Plan:
    """Measure the speed of both stages, and what follows their steps, which the budget then reserves.

    Runs a few batches forward and backward, without changing weights or random numbers.
    """
    seconds = {Stage.AUTOENCODER: _autoencoder_seconds(config, stage)}
    prior = _seconds(lambda: _rehearse_prior(config, engine, model), engine)
    seconds[Stage.PRIOR] = prior / config.prior_batch_size
    per_image = {which: UPDATE_SHARE * value for which, value in seconds.items() if which in budget.shares}
    for which, value in _seconds_after(config, engine, model, images).items():
        if which in budget.shares:
            budget.expected_after[which] = value
    return Plan(config, budget, per_image, len(images.train))


def description(config: TrainConfig, engine: Engine, model: Impasto, stage: AutoencoderStage) -> Iterator[str]:
    """Lines for a person: device and reason, model size, memory."""
    yield f"device: {engine.reason}"
    yield (
        f"model: {config.finetune or config.size}, {_millions(model.autoencoder)} M parameters in the autoencoder, "
        f"{_millions(model.prior)} M in the prior, {model.config.resolution} px, {model.config.channels} channels"
    )
    if stage.micro_batch < config.batch_size // engine.num_processes:
        yield f"memory ran out: computing {stage.micro_batch} images at a time; the batch stays the same"
    yield f"memory: {memory_text(engine.device)}"


def _autoencoder_seconds(config: TrainConfig, stage: AutoencoderStage) -> float:
    """Seconds per image of stage 1, averaged over its parts, in which different terms and weights are active."""
    objective = config.objective
    starts = {0.0, objective.feature_start, objective.stylization_start, objective.freeze_encoders_after, 1.0}
    bounds = sorted(min(1.0, start) for start in starts)
    total = 0.0
    for start, end in itertools.pairwise(bounds):
        middle = (start + end) / 2
        total += (end - start) * _seconds(lambda middle=middle: stage.rehearse(middle), stage.engine)
    return total / config.batch_size


def _rehearse_prior(config: TrainConfig, engine: Engine, model: Impasto) -> None:
    batch = config.prior_batch_size // engine.num_processes
    posterior = unconditional(model.config, batch, engine.device)
    noise = draw_noise(range(batch), posterior)
    with engine.autocast():
        loss = flow_matching_loss(model.prior, noise, Condition(posterior), noise, noise.style[:, 0].sigmoid())
        (loss.final + loss.intermediate).backward()
    model.prior.zero_grad(set_to_none=True)


@torch.no_grad()
def _seconds_after(config: TrainConfig, engine: Engine, model: Impasto, images: ImageSet) -> dict[Stage, float]:
    """Seconds of what follows the steps of each stage: previews, scores, latents, copy check, saves."""
    autoencoder, prior = model.autoencoder, model.prior
    image = to_images(images.batch(images.train[:PROBED]), engine.device)
    condition = Condition(unconditional(model.config, PROBED, engine.device))
    count = len(image)
    encode = _seconds(lambda: autoencoder.posterior(image), engine) / count
    latents = draw_noise(range(PROBED), condition.posterior)
    decode = _seconds(lambda: autoencoder.decode(latents), engine) / PROBED
    # All steps, because guidance makes the first ones slower.
    sample = _seconds(lambda: sample_condition(prior, condition, range(PROBED), Sampling()), engine) / PROBED + decode
    save = BYTES_PER_WEIGHT * sum(p.numel() for p in model.parameters()) / BYTES_PER_SECOND
    styles = preview.REFERENCES * len(images.collections) * encode
    reconstructions = preview.COLUMNS * (encode + preview.NUM_RECONSTRUCTED_ROWS * decode)
    scored = min(preview.MAX_SCORED, len(images.held_out)) * (encode + preview.NUM_PREFIXES * decode)
    cached = (len(images.train) * num_crops(model.config, images) + len(images.held_out)) * encode
    rows = len(preview.TEMPERATURES) + min(preview.MAX_STYLES, len(images.collections))
    compared = min(len(images.train), copy_check.MAX_COMPARED_BY_FEATURES) + 2 * copy_check.COMPARED
    after_first = reconstructions + scored + styles + save + cached / engine.num_processes
    after_second = reconstructions + styles + rows * preview.COLUMNS * sample + save
    # The features of the copy check cost about as much as an encoding of 128 px, which it enlarges smaller images to.
    after_second += copy_check.COMPARED * sample + compared * encode * max(1.0, 128 / images.resolution) ** 2
    return {Stage.AUTOENCODER: after_first, Stage.PRIOR: after_second}


def _seconds(run: Callable[[], object], engine: Engine) -> float:
    """The fastest of two runs; on a GPU after one that chooses algorithms."""
    best = float("inf")
    for _ in range(3 if engine.device.type == "cuda" else 2):
        start = time.perf_counter()
        run()
        if engine.device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return best


def _millions(module: nn.Module) -> str:
    return f"{sum(p.numel() for p in module.parameters()) / 1e6:.1f}"


def _rounded(number: float) -> str:
    digits = max(0, len(str(int(number))) - 2)
    return f"{round(number, -digits):,.0f}"
