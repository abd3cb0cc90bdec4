"""Stage 2: the prior flow, on latents that the finished autoencoder computes once."""

import dataclasses
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from impasto.config import CouplingConfig, ModelConfig, TrainConfig
from impasto.data import ImageSet
from impasto.events import Stage
from impasto.model.autoencoder import NUM_EXPERTS, Autoencoder, modes
from impasto.model.blocks import to_images
from impasto.model.caption_predictor import CaptionPredictor
from impasto.model.decoder import Latents, latent_shapes
from impasto.model.encoder import Posterior
from impasto.model.fuser import fuse
from impasto.model.gaussian import Gaussian
from impasto.model.levels import NUM_LEVELS
from impasto.model.prior import Condition, PriorFlow
from impasto.objective.couplings import Coupler, Coupling
from impasto.objective.flow import draw_time, flow_matching_loss
from impasto.text import TEXT_DIM, TextEncoder, TextVectors
from impasto.training.engine import Engine
from impasto.training.optimizer import Optimizer
from impasto.training.seeds import Order, generator, noise_of, rng
from impasto.training.stage import TrainingStage

CAPTION_LEARNING_RATE = 5e-4
"""Peak learning rate of the caption predictor."""
LEARNING_RATE_TIMES_WIDTH = 0.192
"""Default peak learning rate of the prior, times its width (Yang 2022, "Tensor programs V")."""
NUM_VARIANTS = 8
"""Cached crops of each image, at least, if images are varied."""
MAX_CACHE_BYTES = 2 << 30
"""For the expert outputs of all crops of all images; one crop is always cached."""


def captions_of(images: ImageSet, indices: np.ndarray) -> TextVectors:
    """The text vectors of some images' captions, zero for those without."""
    texts = [images.entries[index].text or "" for index in indices.tolist()]
    distinct = sorted({text for text in texts if text})
    vectors = dict(zip(distinct, TextEncoder()(distinct), strict=True))
    return torch.stack([vectors.get(text, torch.zeros(TEXT_DIM)) for text in texts])


class LatentCache:
    """The expert outputs of every training image: mean and log-variance per level, in half precision.

    Of images larger than their square, several crops are cached. The cache lies in the GPU's memory if there is room.
    """

    def __init__(
        self,
        model: Autoencoder,
        images: ImageSet,
        engine: Engine,
        batch_size: int = 32,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        """``progress`` is called with (batches computed, in total)."""
        self.num_crops = num_crops(model.config, images)
        """Rows ``crop * (number of training images) + image`` are the crops of an image; the first is its centre."""
        self.count = len(images.train)
        device = engine.home_of(self.num_crops * self.count * _bytes_per_crop(model.config))
        kept = {"dtype": torch.half, "device": device}
        rows, shapes = self.num_crops * self.count, latent_shapes(model.config)
        self.experts = shapes.map(lambda shape: torch.zeros(rows, NUM_EXPERTS, 2, *shape, **kept))
        """Per level (image, expert, 2, ...): mean and log-variance."""
        self.fused = shapes.map(lambda shape: torch.zeros(rows, 2, *shape, **kept))
        """Per level (image, 2, ...): the posterior with all experts."""
        batches = list(itertools.product(range(self.num_crops), range(0, self.count, batch_size)))
        is_shared = device.type == engine.device.type
        mine = batches[engine.rank.index :: engine.num_processes] if is_shared else batches
        for number, (crop, start) in enumerate(mine, start=1):
            progress(number, len(mine))
            self._add(model, images, engine, crop, slice(start, min(start + batch_size, self.count)))
        if is_shared:
            engine.add_up([*self.experts, *self.fused])

    @torch.no_grad()
    def _add(self, model: Autoencoder, images: ImageSet, engine: Engine, crop: int, part: slice) -> None:
        places = np.random.default_rng((crop, part.start)) if crop else None
        image = to_images(images.batch(images.train[part], places), engine.device)
        rows = slice(self.count * crop + part.start, self.count * crop + part.stop)
        with engine.autocast():
            experts = model.experts(image)
        posterior = fuse(experts, image.new_ones(len(image), NUM_EXPERTS, NUM_LEVELS))
        for cached, gaussian in self.fused.zip(posterior):
            cached[rows] = gaussian.stack().half().to(cached.device)
        for level, cached in enumerate(self.experts):
            outputs = [list(expert)[level].stack().half() for expert in experts]
            cached[rows] = torch.stack(outputs, 1).to(cached.device)

    def rows(self, images: np.ndarray, crops: np.ndarray) -> np.ndarray:
        """The rows of these crops of these images; both broadcast."""
        return self.count * crops + images

    def posterior(self, rows: np.ndarray, device: torch.device) -> Posterior:
        """The posterior of some images."""
        return self.fused.map(lambda cached: Gaussian.unstack(cached[rows].to(device).float()))

    def coupled(self, coupling: Coupling, rows: slice, device: torch.device) -> Posterior:
        """The posterior that some rows of a coupling give: weighted experts on the maps, pooled styles."""
        content = self.experts.map(lambda cached: cached[coupling.content[rows]].to(device).float())
        experts = [content.map(lambda level, e=e: Gaussian.unstack(level[:, e])) for e in range(NUM_EXPERTS)]
        posterior = fuse(experts, torch.from_numpy(coupling.weights[rows]).to(device))
        # The pool of images' fused styles is the product of each expert's pool, as its shares sum to one.
        references = self.experts.style[coupling.style[rows]].to(device).float().flatten(1, 2).unbind(1)
        shares = torch.from_numpy(coupling.style_weights[rows]).to(device).flatten(1).unbind(1)
        return posterior.with_style(Gaussian.product([Gaussian.unstack(r) for r in references], shares))


@dataclass(frozen=True)
class Batch:
    """Images, their conditions, and noise."""

    images: np.ndarray
    """int64 (batch,): training images."""
    rows: np.ndarray
    """int64 (batch,): their rows in the cache."""
    coupling: Coupling
    time: Tensor
    noise: Latents
    """Of the source."""


class PriorStage(TrainingStage[Batch]):
    """Trains the flow from whatever is given about an image to its latents."""

    stage = Stage.PRIOR

    def __init__(
        self,
        config: TrainConfig,
        engine: Engine,
        prior: PriorFlow,
        cache: LatentCache,
        images: ImageSet,
        captions: TextVectors | None = None,
        predictor: CaptionPredictor | None = None,
        coupling: CouplingConfig | None = None,
    ) -> None:
        """``captions`` (training image, text_dim) are of unit length, zero for images without one.

        ``predictor`` trains along. ``coupling`` replaces that of ``config``.
        """
        learning_rate = config.prior_learning_rate or LEARNING_RATE_TIMES_WIDTH / prior.width
        optimizer = Optimizer(prior, learning_rate, warmup=200, decay=0.9995)
        super().__init__(engine, optimizer, config.prior_batch_size)
        self.config = config
        self.prior = prior
        self.cache = cache
        self.captions = captions
        self.predictor = predictor
        if predictor is not None:
            self.auxiliary["caption_predictor"] = Optimizer(predictor, CAPTION_LEARNING_RATE, warmup=200)
        self.order = Order(np.arange(len(images.train)), config.seed, self.stage)
        ids = images.collection_ids[images.train], images.key_ids[images.train]
        self.coupler = Coupler(*ids, coupling or config.coupling)

    def draw(self, step: int, images_seen: int) -> Batch:
        """Images by the seeded order, and the condition of each."""
        images = self.order.take(images_seen, self.batch_size)
        seed, random = self.config.seed, rng(self.config.seed, self.stage, step)
        shapes = self.cache.fused.map(lambda cached: (self.batch_size, *cached.shape[2:]))
        noise = noise_of(seed, self.stage, step, shapes, self.engine.device)
        coupling = self.coupler.draw(images, random)
        crops = random.integers(0, self.cache.num_crops, self.batch_size)
        # An image's own content is that of the same crop; of another image any crop is as good.
        coupling = dataclasses.replace(
            coupling,
            content=self.cache.rows(coupling.content, crops),
            style=self.cache.rows(coupling.style, crops[:, None]),
        )
        time = draw_time(self.batch_size, generator(seed, self.stage, step))
        return Batch(images, self.cache.rows(images, crops), coupling, time, noise)

    def loss(self, batch: Batch, rows: slice, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        """The flow matching loss of some rows, and that of the caption predictor."""
        device = self.engine.device
        posterior = self.cache.posterior(batch.rows[rows], device)
        noise = batch.noise.map(lambda n: n[rows])
        text = captions = None
        if self.captions is not None:
            captions = self.captions[batch.images[rows]].to(device)
            text = captions * torch.from_numpy(batch.coupling.has_text[rows, None]).to(device)
        condition = Condition(self.cache.coupled(batch.coupling, rows, device), text)
        # The target is the mode, not a sample: the posterior's noise is not to be learned.
        flow = flow_matching_loss(self.prior, modes(posterior), condition, noise, batch.time[rows].to(device))
        total = flow.final + self.config.objective.intermediate_weight * flow.intermediate
        terms = {"flow": flow.final.detach(), "intermediate": flow.intermediate.detach()}
        terms |= {f"velocity_{name}": value for name, value in flow.levels.items()}
        if self.predictor is not None and captions is not None:
            # A new sample of the posterior each time, so that the predictor does not memorise the images.
            samples = posterior.map(lambda gaussian, n: gaussian.sample(n), noise)
            error = 1 - (self.predictor(samples) * captions).sum(1)
            has_caption = captions.square().sum(1)
            caption = (error * has_caption).sum() / has_caption.sum().clamp(min=1)
            total, terms = total + caption, terms | {"caption": caption.detach()}
        return total, terms


def num_crops(config: ModelConfig, images: ImageSet) -> int:
    """As many as the images are larger than their squares in area, or variants, within the limit of memory."""
    sides = images.sides[images.train].astype(np.float64)
    area = float(np.median(sides.prod(1))) / images.resolution**2
    wanted = max(round(area), NUM_VARIANTS if images.augment else 1)
    return max(1, min(wanted, MAX_CACHE_BYTES // (_bytes_per_crop(config) * len(images.train))))


def _bytes_per_crop(config: ModelConfig) -> int:
    return sum(math.prod(shape) for shape in latent_shapes(config)) * 2 * (NUM_EXPERTS + 1) * torch.half.itemsize
