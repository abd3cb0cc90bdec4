"""Stage 2 on few pictures: it is over as soon as held-out pictures are understood no better."""

import dataclasses
import math

import torch
from torch import Tensor

from impasto.config import TrainConfig
from impasto.data import PictureSet
from impasto.model.autoencoder import Autoencoder
from impasto.model.prior import PriorFlow
from impasto.objective.couplings import CouplingConfig
from impasto.text import TextVectors
from impasto.training.checkpoint import Checkpoint
from impasto.training.engine import Engine
from impasto.training.optimizer import below
from impasto.training.prior_stage import LatentCache, PriorStage

LOOK_EVERY = 25
"""Updates between two looks at held-out pictures."""
HELD_OUT_BATCHES = 4
PATIENCE = 24
"""Looks without a better one before the stage is over."""
ONLY_STYLE = CouplingConfig(no_style=0.0, own_style=0.0, mixed_style=0.0, no_content=1.0)
"""What is told of held-out pictures: what is told where new ones are made."""


class PatientPriorStage(PriorStage):
    """A `PriorStage` that keeps the averaged weights with the lowest loss on held-out pictures, and ends in time."""

    def __init__(
        self,
        config: TrainConfig,
        engine: Engine,
        prior: PriorFlow,
        autoencoder: Autoencoder,
        pictures: PictureSet,
        captions: TextVectors | None = None,
        held_out_captions: TextVectors | None = None,
    ) -> None:
        """The captions are those of the training pictures and of the held-out ones, see `PriorStage`."""
        super().__init__(config, engine, prior, LatentCache(autoencoder, pictures, engine), pictures, captions)
        average = self.optimizer.average.module
        assert isinstance(average, PriorFlow)
        swapped = dataclasses.replace(pictures, held_out=pictures.train)
        cache = LatentCache(autoencoder, swapped, engine)
        self.held_out = PriorStage(config, engine, average, cache, swapped, held_out_captions, coupling=ONLY_STYLE)
        """Never updated: it says what the averaged weights make of the held-out pictures."""
        self.best: dict[str, Tensor] = self.optimizer.average.module.state_dict()
        self.lowest = math.inf
        self.looks_since = 0
        self._look()

    @property
    def settled(self) -> bool:
        """Whether the held-out loss has not fallen for a while."""
        return self.looks_since >= PATIENCE

    def averaged(self) -> dict[str, Tensor]:
        """The weights with the lowest held-out loss."""
        return self.best

    def step(self, step: int, images_seen: int, progress: float) -> tuple[dict[str, float], str | None]:
        """One update; now and then a look."""
        terms, warning = super().step(step, images_seen, progress)
        if self.optimizer.updates % LOOK_EVERY == 0:
            terms = terms | {"held_out": self._look()}
        return terms, warning

    @torch.no_grad()
    def held_out_loss(self) -> float:
        """The flow matching loss of the averaged weights on held-out pictures, always with the same noise."""
        found = []
        for number in range(HELD_OUT_BATCHES):
            batch = self.held_out.draw(number, number * self.batch_size)
            with self.engine.autocast():
                _, terms = self.held_out.loss(batch, slice(0, self.batch_size), 1.0)
            found.append(terms["flow"])
        return float(torch.stack(found).mean())

    def _look(self) -> float:
        loss = self.held_out_loss()
        self.looks_since += 1
        if loss < self.lowest:
            self.lowest, self.looks_since = loss, 0
            self.best = {name: tensor.clone() for name, tensor in self.optimizer.average.module.state_dict().items()}
        return loss

    def state(self) -> Checkpoint:
        """All that resuming needs, the best weights included."""
        state = super().state()
        tensors = state.tensors | {f"best.{name}": tensor for name, tensor in self.best.items()}
        return Checkpoint(tensors, state.numbers | {"lowest": self.lowest, "looks_since": self.looks_since})

    def restore(self, saved: Checkpoint) -> None:
        """Go on from a saved state."""
        super().restore(saved)
        self.best = below(saved.tensors, "best.")
        self.lowest, self.looks_since = saved.numbers["lowest"], int(saved.numbers["looks_since"])
