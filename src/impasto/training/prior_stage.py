"""Stage 2: the prior flow, on latents that the finished autoencoder says once."""

import dataclasses
import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from impasto.backbone import MEASURED_SIDE, Backbone, Lite
from impasto.config import ModelConfig, TrainConfig
from impasto.data import PictureSet
from impasto.events import Stage
from impasto.model.autoencoder import NUM_EXPERTS, NUM_LEVELS, Autoencoder
from impasto.model.captions import CaptionReader
from impasto.model.decoder import Latents, latent_shapes
from impasto.model.encoder import Hierarchy
from impasto.model.fuser import fuse
from impasto.model.gaussian import Gaussian
from impasto.model.prior import PriorFlow
from impasto.model.sampler import with_look
from impasto.objective.couplings import Coupler, Coupling, CouplingConfig
from impasto.objective.flow import draw_time, flow_matching_loss
from impasto.text import TextVectors
from impasto.training.autoencoder_stage import to_device
from impasto.training.engine import Engine
from impasto.training.optimizer import Optimizer
from impasto.training.seeds import Order, generator, noise_of, rng
from impasto.training.stage import TrainingStage

READER_RATE = 5e-4
"""Highest learning rate of the reader of captions."""
RATE_TIMES_WIDTH = 0.192
"""Learning rate of the prior where none is given, times its width."""


MOST_CACHE_BYTES = 2 << 30
"""For what is known of all cuts of all pictures; one cut is always known."""


@dataclass(frozen=True)
class Batch:
    """Pictures, what is told of them, and noise."""

    chosen: np.ndarray
    """int64 (batch,): training pictures."""
    rows: np.ndarray
    """int64 (batch,): their rows in the cache."""
    coupling: Coupling
    time: Tensor
    source_noise: Latents


class LatentCache:
    """What every expert says of every training picture: mean and log-variance per level, in half precision.

    Of pictures that are larger than their square, several cuts are known. It lies in the GPU's memory where there is
    room for it.
    """

    def __init__(self, model: Autoencoder, pictures: PictureSet, engine: Engine, batch_size: int = 32) -> None:
        self.cuts = _number_of_cuts(model.config, pictures)
        """Rows ``cut * (number of training pictures) + picture`` are the cuts of a picture; the first is its middle."""
        self.count = len(pictures.train)
        kept_on = engine.home_of(self.cuts * self.count * _bytes_a_cut(model.config))
        shapes = latent_shapes(model.config)
        kept = {"dtype": torch.half, "device": kept_on}
        self.said = [torch.zeros(self.cuts * self.count, NUM_EXPERTS, 2, *shape, **kept) for shape in shapes]
        """Per level (picture, expert, 2, ...): mean and log-variance."""
        self.fused = [torch.zeros(self.cuts * self.count, 2, *shape, **kept) for shape in shapes]
        """Per level (picture, 2, ...): the posterior with all experts."""
        batches = list(itertools.product(range(self.cuts), range(0, self.count, batch_size)))
        is_shared = kept_on.type == engine.device.type
        for cut, start in batches[engine.rank :: engine.num_processes] if is_shared else batches:
            self._add(model, pictures, engine, cut, slice(start, min(start + batch_size, self.count)))
        if is_shared:
            engine.add_up([*self.said, *self.fused])

    @torch.no_grad()
    def _add(self, model: Autoencoder, pictures: PictureSet, engine: Engine, cut: int, part: slice) -> None:
        places = np.random.default_rng((cut, part.start)) if cut else None
        picture = to_device(pictures.batch(pictures.train[part], places), engine.device)
        rows = slice(self.count * cut + part.start, self.count * cut + part.stop)
        with engine.autocast():
            experts = model.experts(picture)
        weights = picture.new_ones(len(picture), NUM_EXPERTS, NUM_LEVELS)
        for level, gaussian in enumerate(fuse(experts, weights)):
            self.fused[level][rows] = _half(gaussian).to(self.fused[level].device)
            told = torch.stack([_half(expert[level]) for expert in experts], 1)
            self.said[level][rows] = told.to(self.said[level].device)

    def rows(self, pictures: np.ndarray, cuts: np.ndarray) -> np.ndarray:
        """The rows of these cuts of these pictures, both in any shape that goes together."""
        return self.count * cuts + pictures

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

        # A pool of pictures' fused styles is the product of each expert's pool of them, if its shares sum to one.
        mean, log_variance = self.said[0][coupling.style[rows]].to(device).float().unbind(3)
        precisions = torch.from_numpy(coupling.style_weights[rows]).to(device)[..., None] * torch.exp(-log_variance)
        precision = 1 + precisions.sum((1, 2))
        mean = (precisions * mean).sum((1, 2)) / precision
        return Gaussian(mean, -torch.log(precision)), coarse, middle, fine


def looks_of(
    pictures: PictureSet, engine: Engine, look_dim: int, batch_size: int = 32
) -> Float[Tensor, "picture look"]:
    """What the training pictures show: the first principal components of a frozen network's pooled features.

    Each has a variance of one over the pictures. The network sees pictures at 128 px at least: what is smaller it
    hardly knows.
    """
    if not look_dim:
        return torch.zeros(len(pictures.train), 0)
    backbone, found = Backbone(Lite.LITE1).to(engine.device), []
    with torch.no_grad():
        for start in range(0, len(pictures.train), batch_size):
            picture = to_device(pictures.batch(pictures.train[start : start + batch_size]), engine.device)
            scale = MEASURED_SIDE / picture.shape[2]
            with engine.autocast():
                _, pooled = backbone.look(
                    F.interpolate(picture, scale_factor=scale, mode="bilinear") if scale > 1 else picture
                )
            found.append(pooled.float().cpu())
    features = torch.cat(found)
    features = (features - features.mean(0)) / features.std(0).clamp(min=1e-3)
    kept = min(look_dim, *features.shape)
    _, _, basis = torch.pca_lowrank(features, q=kept, center=False)
    scores = features @ basis
    return F.pad((scores / scores.std(0).clamp(min=1e-3)).clamp(-4, 4), (0, look_dim - kept))


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
        captions: TextVectors | None = None,
        reader: CaptionReader | None = None,
        coupling: CouplingConfig | None = None,
    ) -> None:
        """``captions`` (training picture, text_dim) are of unit length, zero where a picture has none.

        ``reader`` learns along to tell them from pictures. ``coupling`` says how often what is told.
        """
        # The best rate of a transformer goes with one over its width (Yang 2022, "Tensor programs V").
        learning_rate = config.prior_learning_rate or RATE_TIMES_WIDTH / prior.width
        optimizer = Optimizer(prior, learning_rate, warmup=200, decay=0.9995)
        super().__init__(engine, optimizer, config.prior_batch_size)
        self.config = config
        self.prior = prior
        self.cache = cache
        self.looks = looks_of(pictures, engine, prior.look_dim)
        self.captions = captions
        self.reader = reader
        if reader is not None:
            self.assistants["captions"] = Optimizer(reader, READER_RATE, warmup=200)
        self.order = Order(np.arange(len(pictures.train)), config.seed, self.stage)
        self.coupler = Coupler(pictures.collection_ids[pictures.train], pictures.key_ids[pictures.train], coupling)

    def draw(self, step: int, images_seen: int) -> Batch:
        """Pictures by the seeded order, and what is told of each."""
        chosen = self.order.take(images_seen, self.batch_size)
        random = rng(self.config.seed, self.stage, step)
        shapes = [(self.batch_size, *level.shape[2:]) for level in self.cache.fused]
        shapes[0] = (self.batch_size, shapes[0][1] + self.prior.look_dim)
        style, coarse, middle, fine = noise_of(self.config.seed, self.stage, step, shapes, self.engine.device)
        coupling = self.coupler.draw(chosen, random)
        cuts = random.integers(0, self.cache.cuts, self.batch_size)
        # A picture's own content is that of the same cut; of others, that is as good as any.
        coupling = dataclasses.replace(
            coupling,
            content=self.cache.rows(coupling.content, cuts),
            style=self.cache.rows(coupling.style, cuts[:, None]),
        )
        time = draw_time(self.batch_size, generator(self.config.seed, self.stage, step))
        return Batch(chosen, self.cache.rows(chosen, cuts), coupling, time, (style, coarse, middle, fine))

    def loss(self, batch: Batch, rows: slice, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        """The flow matching loss of some rows."""
        device = self.engine.device
        with torch.no_grad():
            posterior = self.cache.posterior(batch.rows[rows], device)
            # Means, not samples: the posterior's noise is nothing to be learned, and the decoder does without it.
            style, *maps = (g.mean for g in posterior)
            target = torch.cat([style, self.looks[batch.chosen[rows]].to(device)], 1), *maps
            fused = with_look(self.cache.told(batch.coupling, rows, device), self.prior.look_dim)
        source_noise = tuple(n[rows] for n in batch.source_noise)
        time = batch.time[rows].to(device)
        text = captions = None
        if self.captions is not None:
            captions = self.captions[batch.chosen[rows]].to(device)
            text = captions * torch.from_numpy(batch.coupling.tells_text[rows, None]).to(device)
        loss = flow_matching_loss(self.prior, target, fused, source_noise, time, text)  # pyrefly: ignore
        terms = {f"velocity_{name}": value for name, value in loss.level_terms.items()}
        terms = {"flow": loss.velocity, "draft": loss.draft, **terms}
        if self.reader is None or captions is None:
            return loss.total, terms
        # A sample of the posterior each time: the reader shall not know the pictures by heart.
        style, coarse, middle, fine = (g.sample(n) for g, n in zip(posterior, source_noise, strict=True))
        error = 1 - (self.reader((style, coarse, middle, fine)) * captions).sum(1)
        has_caption = captions.square().sum(1)
        terms["caption"] = (error * has_caption).sum() / has_caption.sum().clamp(min=1)
        return loss.total + terms["caption"], terms | {"caption": terms["caption"].detach()}


def _number_of_cuts(config: ModelConfig, pictures: PictureSet) -> int:
    """As many as the pictures are larger than their squares in area, as far as memory allows."""
    sides = pictures.sides[pictures.train].astype(np.float64)
    area = float(np.median(sides.prod(1))) / pictures.resolution**2
    return max(1, min(round(area), MOST_CACHE_BYTES // (_bytes_a_cut(config) * len(pictures.train))))


def _bytes_a_cut(config: ModelConfig) -> int:
    return sum(math.prod(shape) for shape in latent_shapes(config)) * 2 * (NUM_EXPERTS + 1) * torch.half.itemsize


def _half(gaussian: Gaussian) -> Tensor:
    return torch.stack([gaussian.mean, gaussian.log_variance], 1).half()


def _gaussian(parts: tuple[Tensor, ...]) -> Gaussian:
    mean, log_variance = parts
    return Gaussian(mean, log_variance)
