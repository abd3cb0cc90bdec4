"""Stage 2 on few images: it stops when the held-out loss no longer falls."""

import dataclasses
import math

import torch
from torch import Tensor

from impasto.config import CouplingConfig, TrainConfig
from impasto.data import ImageSet
from impasto.model.autoencoder import Autoencoder
from impasto.model.prior import PriorFlow
from impasto.text import TextVectors
from impasto.training.checkpoint import Checkpoint
from impasto.training.engine import Engine
from impasto.training.optimizer import below
from impasto.training.prior_stage import LatentCache, PriorStage

EVALUATE_EVERY = 25
"""Updates between two evaluations of the held-out loss."""
HELD_OUT_BATCHES = 4
PATIENCE = 24
"""Evaluations without improvement before the stage stops."""
ONLY_STYLE = CouplingConfig(no_style=0.0, own_style=0.0, style_per_expert=0.0, no_content=1.0)
"""The coupling for held-out images: the condition under which images are generated."""


class EarlyStoppedPriorStage(PriorStage):
    """A `PriorStage` that keeps the averaged weights with the lowest held-out loss, and stops early."""

    def __init__(
        self,
        config: TrainConfig,
        engine: Engine,
        prior: PriorFlow,
        autoencoder: Autoencoder,
        images: ImageSet,
        captions: TextVectors | None = None,
        held_out_captions: TextVectors | None = None,
    ) -> None:
        """``captions`` are those of the training images and ``held_out_captions`` of the held-out ones, see
        `PriorStage`."""
        super().__init__(config, engine, prior, LatentCache(autoencoder, images, engine), images, captions)
        average = self.optimizer.average.module
        assert isinstance(average, PriorFlow)
        swapped = dataclasses.replace(images, held_out=images.train)
        cache = LatentCache(autoencoder, swapped, engine)
        self.held_out = PriorStage(config, engine, average, cache, swapped, held_out_captions, coupling=ONLY_STYLE)
        """Never updated: it computes the loss of the averaged weights on the held-out images."""
        self.best: dict[str, Tensor] = self.optimizer.average.module.state_dict()
        self.lowest = math.inf
        self.evaluations_since = 0
        self._evaluate()

    @property
    def converged(self) -> bool:
        """Whether the held-out loss has stopped falling."""
        return self.evaluations_since >= PATIENCE

    def averaged(self) -> dict[str, Tensor]:
        """The weights with the lowest held-out loss."""
        return self.best

    def step(self, step: int, images_seen: int, progress: float) -> tuple[dict[str, float], str | None]:
        """One update; at intervals the held-out loss."""
        terms, warning = super().step(step, images_seen, progress)
        if self.optimizer.updates % EVALUATE_EVERY == 0:
            terms = terms | {"held_out": self._evaluate()}
        return terms, warning

    @torch.no_grad()
    def held_out_loss(self) -> float:
        """The flow matching loss of the averaged weights on held-out images, always with the same noise."""
        losses = []
        for number in range(HELD_OUT_BATCHES):
            batch = self.held_out.draw(number, number * self.batch_size)
            with self.engine.autocast():
                _, terms = self.held_out.loss(batch, slice(0, self.batch_size), 1.0)
            losses.append(terms["flow"])
        return float(torch.stack(losses).mean())

    def _evaluate(self) -> float:
        loss = self.held_out_loss()
        self.evaluations_since += 1
        if loss < self.lowest:
            self.lowest, self.evaluations_since = loss, 0
            self.best = {name: tensor.clone() for name, tensor in self.optimizer.average.module.state_dict().items()}
        return loss

    def state(self) -> Checkpoint:
        """All that resuming needs, the best weights included."""
        state = super().state()
        tensors = state.tensors | {f"best.{name}": tensor for name, tensor in self.best.items()}
        return Checkpoint(tensors, state.numbers | {"lowest": self.lowest, "evaluations_since": self.evaluations_since})

    def restore(self, saved: Checkpoint) -> None:
        """Go on from a saved state."""
        super().restore(saved)
        self.best = below(saved.tensors, "best.")
        self.lowest, self.evaluations_since = saved.numbers["lowest"], int(saved.numbers["evaluations_since"])
