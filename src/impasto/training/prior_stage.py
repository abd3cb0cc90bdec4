"""Stage 2: the prior flow, on latents that the finished autoencoder says once."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from impasto.config import TrainConfig
from impasto.data import PictureSet
from impasto.events import Stage
from impasto.model.autoencoder import NUM_EXPERTS, NUM_LEVELS, Autoencoder
from impasto.model.decoder import Latents
from impasto.model.encoder import Hierarchy
from impasto.model.fuser import fuse
from impasto.model.gaussian import Gaussian
from impasto.model.prior import PriorFlow
from impasto.objective.couplings import Coupler, Coupling
from impasto.objective.flow import draw_time, flow_matching_loss
from impasto.training.autoencoder_stage import to_device
from impasto.training.engine import Engine
from impasto.training.optimizer import Optimizer
from impasto.training.seeds import Order, generator, rng
from impasto.training.stage import TrainingStage

RATE_TIMES_WIDTH = 0.192
"""Learning rate of the prior where none is given, times its width."""


@dataclass(frozen=True)
class Batch:
    """Pictures (rows of the cache), what is told of them, and noise."""

    chosen: np.ndarray
    coupling: Coupling
    time: Tensor
    source_noise: Latents


class LatentCache:
    """What every expert says of every training picture: mean and log-variance per level, in half precision."""

    def __init__(self, model: Autoencoder, pictures: PictureSet, engine: Engine, batch_size: int = 32) -> None:
        said: list[list[Tensor]] = [[] for _ in range(NUM_LEVELS)]
        fused: list[list[Tensor]] = [[] for _ in range(NUM_LEVELS)]
        with torch.no_grad():
            for start in range(0, len(pictures.train), batch_size):
                picture = to_device(pictures.batch(pictures.train[start : start + batch_size]), engine.device)
                with engine.autocast():
                    experts = model.experts(picture)
                weights = picture.new_ones(len(picture), NUM_EXPERTS, NUM_LEVELS)
                for level, gaussian in enumerate(fuse(experts, weights)):
                    fused[level].append(_half(gaussian))
                    said[level].append(torch.stack([_half(expert[level]) for expert in experts], 1))
        self.said = [torch.cat(level) for level in said]
        """Per level (picture, expert, 2, ...): mean and log-variance."""
        self.fused = [torch.cat(level) for level in fused]
        """Per level (picture, 2, ...): the posterior with all experts."""

    def posterior(self, rows: np.ndarray, device: torch.device) -> Hierarchy:
        """The posterior of some pictures."""
        style, coarse, middle, fine = (_gaussian(level[rows].to(device).float().unbind(1)) for level in self.fused)
        return style, coarse, middle, fine

    def told(self, coupling: Coupling, rows: slice, device: torch.device) -> Hierarchy:
        """The fused Gaussians of what some rows of a coupling tell: weighted experts, pooled styles."""
        content = [level[coupling.content[rows]].to(device).float() for level in self.said]
        experts = [tuple(_gaussian(level[:, expert].unbind(1)) for level in content) for expert in range(NUM_EXPERTS)]
        weights = torch.from_numpy(coupling.weights[rows]).to(device)
        _, coarse, middle, fine = fuse(experts, weights)  # pyrefly: ignore

        references = self.fused[0][coupling.style[rows]].to(device).float()
        shares = torch.from_numpy(coupling.style_weights[rows]).to(device)[:, :, None]
        precisions = torch.exp(-references[:, :, 1])
        # With all shares zero nothing is told: the prior N(0, 1).
        precision = (shares * precisions).sum(1) + (1 - shares.sum(1))
        mean = (shares * precisions * references[:, :, 0]).sum(1) / precision
        return Gaussian(mean, -torch.log(precision)), coarse, middle, fine


class PriorStage(TrainingStage[Batch]):
    """Learns to carry what little was told to the latents of a whole picture."""

    stage = Stage.PRIOR

    def __init__(
        self,
        config: TrainConfig,
        engine: Engine,
        prior: PriorFlow,
        cache: LatentCache,
        pictures: PictureSet,
    ) -> None:
        # The best rate of a transformer goes with one over its width (Yang 2022, "Tensor programs V").
        learning_rate = config.prior_learning_rate or RATE_TIMES_WIDTH / prior.width
        optimizer = Optimizer(prior, learning_rate, warmup=200, decay=0.9995)
        super().__init__(engine, optimizer, config.prior_batch_size)
        self.config = config
        self.prior = prior
        self.cache = cache
        self.order = Order(np.arange(len(pictures.train)), config.seed, self.stage)
        self.coupler = Coupler(pictures.collection_ids[pictures.train], pictures.key_ids[pictures.train])

    def draw(self, step: int, images_seen: int) -> Batch:
        """Pictures by the seeded order, and what is told of each."""
        chosen = self.order.take(images_seen, self.batch_size)
        draw = generator(self.config.seed, self.stage, step)
        shapes = [level.shape[2:] for level in self.cache.fused]
        source = tuple(torch.randn(self.batch_size, *shape, generator=draw) for shape in shapes)
        coupling = self.coupler.draw(chosen, rng(self.config.seed, self.stage, step))
        time = draw_time(self.batch_size, draw)
        return Batch(chosen, coupling, time, source)  # pyrefly: ignore

    def loss(self, batch: Batch, rows: slice, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        """The flow matching loss of some rows."""
        device = self.engine.device
        with torch.no_grad():
            posterior = self.cache.posterior(batch.chosen[rows], device)
            # Means, not samples: the posterior's noise is nothing to be learned, and the decoder does without it.
            target = tuple(g.mean for g in posterior)
            fused = self.cache.told(batch.coupling, rows, device)
        source_noise = tuple(n[rows].to(device) for n in batch.source_noise)
        time = batch.time[rows].to(device)
        loss = flow_matching_loss(self.prior, target, fused, source_noise, time)  # pyrefly: ignore
        terms = {f"velocity_{name}": value for name, value in loss.level_terms.items()}
        return loss.total, {"flow": loss.total.detach(), **terms}


def _half(gaussian: Gaussian) -> Tensor:
    return torch.stack([gaussian.mean, gaussian.log_variance], 1).half().cpu()


def _gaussian(parts: tuple[Tensor, ...]) -> Gaussian:
    mean, log_variance = parts
    return Gaussian(mean, log_variance)
