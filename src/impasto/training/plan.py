"""The plan of a run, measured before it starts: speed, epochs, memory."""

import time
from collections.abc import Callable, Iterator

import torch
from torch import nn

from impasto.config import TrainConfig
from impasto.create.generate import unconditional
from impasto.events import Stage
from impasto.memory import memory_text
from impasto.model.impasto import Impasto
from impasto.model.prior import Condition
from impasto.model.sampler import draw_noise
from impasto.objective.flow import flow_matching_loss
from impasto.training.autoencoder_stage import AutoencoderStage
from impasto.training.budget import StageClock
from impasto.training.engine import Engine

UPDATE_SHARE = 1.1
"""Cost of a whole step, with optimizer and moving average, against forward and backward alone."""


def plan(
    config: TrainConfig,
    engine: Engine,
    model: Impasto,
    stage: AutoencoderStage,
    clocks: dict[Stage, StageClock],
) -> Iterator[str]:
    """Lines for a person: device and reason, model size, speed, memory, and the reach of the budget.

    Runs a few batches forward and backward, without changing weights or random numbers.
    """
    yield f"device: {engine.reason}"
    yield (
        f"model: {config.finetune or config.size}, {_millions(model.autoencoder)} M parameters in the autoencoder, "
        f"{_millions(model.prior)} M in the prior, {config.resolution} px, {model.config.channels} channels"
    )
    rehearsals = {
        Stage.AUTOENCODER: (config.batch_size, stage.rehearse),
        Stage.PRIOR: (config.prior_batch_size, lambda: _rehearse_prior(config, engine, model)),
    }
    for which, clock in clocks.items():
        batch_size, rehearse = rehearsals[which]
        speed = batch_size / _seconds(rehearse, engine) / UPDATE_SHARE
        images = clock.limit if clock.counts_images else clock.limit * speed
        minutes = (clock.limit / speed if clock.counts_images else clock.limit) / 60
        epochs = images / len(stage.images.train)
        yield (
            f"stage {which}: about {speed:.0f} images/s, {_rounded(images)} images "
            f"({epochs:.1f} times each) in {minutes:.1f} minutes"
        )
    if stage.micro_batch < config.batch_size // engine.num_processes:
        yield f"memory ran out: computing {stage.micro_batch} images at a time; the batch stays the same"
    yield f"memory: {memory_text(engine.device)}"


def _rehearse_prior(config: TrainConfig, engine: Engine, model: Impasto) -> None:
    batch = config.prior_batch_size // engine.num_processes
    posterior = unconditional(model.config, batch, engine.device)
    noise = draw_noise(range(batch), posterior)
    with engine.autocast():
        loss = flow_matching_loss(model.prior, noise, Condition(posterior), noise, noise.style[:, 0].sigmoid())
        (loss.final + loss.intermediate).backward()
    model.prior.zero_grad(set_to_none=True)


def _seconds(run: Callable[[], object], engine: Engine) -> float:
    best = float("inf")
    for _ in range(3):
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
