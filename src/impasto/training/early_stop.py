"""Stage 2 with held-out images: it keeps the best weights, and stops when the held-out loss rises."""

import dataclasses
import math
from collections.abc import Callable

import torch
from torch import Tensor

from impasto.config import CouplingConfig, TrainConfig
from impasto.data import ImageSet
from impasto.model.autoencoder import Autoencoder
from impasto.model.caption_predictor import CaptionPredictor
from impasto.model.prior import PriorFlow
from impasto.text import TextVectors
from impasto.training.checkpoint import Checkpoint
from impasto.training.engine import Engine
from impasto.training.optimizer import below
from impasto.training.prior_stage import LatentCache, PriorStage
from impasto.training.stage import Terms

EVALUATE_EVERY = 25
"""Updates between two evaluations of the held-out loss, in short runs."""
EVALUATE_RARELY = 100
"""The same after `MANY_UPDATES`."""
MANY_UPDATES = 1000
HELD_OUT_BATCHES = 4
PATIENCE = 24
"""Evaluations without improvement before the stage may stop."""
RISE = 1.02
"""The stage stops if the loss is then this many times the lowest one. Below it the decay of the learning rate may still
improve the weights."""
ONLY_STYLE = CouplingConfig(no_style=0.0, own_style=0.0, style_per_expert=0.0, no_content=1.0)
"""The coupling for held-out images: the condition under which images are generated."""


class EarlyStoppedPriorStage(PriorStage):
    """A `PriorStage` that keeps the averaged weights with the lowest held-out loss, and stops if the loss rises."""

    def __init__(
        self,
        config: TrainConfig,
        engine: Engine,
        prior: PriorFlow,
        autoencoder: Autoencoder,
        images: ImageSet,
        captions: TextVectors | None = None,
        held_out_captions: TextVectors | None = None,
        predictor: CaptionPredictor | None = None,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        """``captions`` are those of the training images and ``held_out_captions`` of the held-out ones, see
        `PriorStage`. ``progress`` is called with (latents computed, in total)."""
        latents = LatentCache(autoencoder, images, engine, progress=progress)
        super().__init__(config, engine, prior, latents, images, captions, predictor)
        average = self.optimizer.average.module
        assert isinstance(average, PriorFlow)
        swapped = dataclasses.replace(images, held_out=images.train, augment=())
        cache = LatentCache(autoencoder, swapped, engine)
        self.held_out = PriorStage(config, engine, average, cache, swapped, held_out_captions, coupling=ONLY_STYLE)
        """Never updated: it computes the loss of the averaged weights on the held-out images."""
        self.best: dict[str, Tensor] = self.optimizer.average.module.state_dict()
        self.best_update = 0
        """The number of updates after which the held-out loss was lowest."""
        self.first = self.last = self.lowest = math.inf
        self.evaluations_since = 0
        self._evaluated_at = -1

    def start_evaluation(self) -> None:
        """Evaluate the initial weights, of a new stage or on new latents."""
        self.lowest = math.inf
        self.first = self._evaluate()

    @property
    def converged(self) -> bool:
        """Whether the held-out loss has stopped falling and has risen."""
        return self.evaluations_since >= PATIENCE and self.last > RISE * self.lowest

    @property
    def summary(self) -> str:
        """How far the held-out loss fell, and whether more training would help, in words."""
        change = f"held-out loss {self.lowest:.3f}, at first {self.first:.3f}"
        if self.best_update == 0 and self.evaluations_since > 0:
            return f"{change}: it did not fall"
        if self.converged:
            return f"{change}; lowest after {self.best_update:,} updates, then it rose: more time would not help"
        return change + ("; it was still falling" if self.evaluations_since <= 1 else "")

    def averaged(self) -> dict[str, Tensor]:
        """The weights with the lowest held-out loss."""
        return self.best

    def step(self, step: int, images_seen: int, progress: float) -> tuple[Terms, str | None]:
        """One update; at intervals the held-out loss."""
        terms, warning = super().step(step, images_seen, progress)
        updates = self.optimizer.updates
        if updates % (EVALUATE_EVERY if updates <= MANY_UPDATES else EVALUATE_RARELY) == 0:
            terms = terms | {"held_out": torch.tensor(self._evaluate())}
        return terms, warning

    def finish(self) -> None:
        """Evaluate the last weights too."""
        if self._evaluated_at != self.optimizer.updates:
            self._evaluate()

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
        self.last = self.held_out_loss()
        self._evaluated_at = self.optimizer.updates
        self.evaluations_since += 1
        if self.last < self.lowest:
            self.lowest, self.evaluations_since, self.best_update = self.last, 0, self.optimizer.updates
            self.best = {name: tensor.clone() for name, tensor in self.optimizer.average.module.state_dict().items()}
        return self.last

    def state(self) -> Checkpoint:
        """All that resuming needs, the best weights included."""
        state = super().state()
        tensors = state.tensors | {f"best.{name}": tensor for name, tensor in self.best.items()}
        numbers = {
            name: getattr(self, name) for name in ("first", "last", "lowest", "best_update", "evaluations_since")
        }
        return Checkpoint(tensors, state.numbers | numbers)

    def restore(self, saved: Checkpoint) -> None:
        """Go on from a saved state; of earlier versions, which evaluated only in finetuning, from its average."""
        super().restore(saved)
        if "lowest" not in saved.numbers:
            self.start_evaluation()
            return
        self.best = below(saved.tensors, "best.")
        self.lowest = saved.numbers["lowest"]
        self.first, self.last = (saved.numbers.get(name, self.lowest) for name in ("first", "last"))
        self.evaluations_since = int(saved.numbers["evaluations_since"])
        self.best_update = int(saved.numbers.get("best_update", self.optimizer.updates))
        self._evaluated_at = self.optimizer.updates
