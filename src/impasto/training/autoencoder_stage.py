"""Stage 1: the autoencoder."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from impasto.backbone import Backbone, Lite, channel_statistics, deviations_in
from impasto.config import TrainConfig
from impasto.data import ImageSet, evenly_spaced
from impasto.events import Stage
from impasto.model.autoencoder import Autoencoder
from impasto.model.blocks import Map, to_images
from impasto.model.decoder import latent_shapes
from impasto.objective.autoencoder import Draws, MicroBatch, autoencoder_terms, subset_of
from impasto.objective.style import StylePredictor
from impasto.training.engine import Engine
from impasto.training.optimizer import Optimizer
from impasto.training.seeds import Order, generator, noise_of, rng
from impasto.training.stage import TrainingStage

MAX_STATISTICS_IMAGES = 256
"""Images from which feature statistics and the mean colour are estimated."""


@dataclass(frozen=True)
class Batch:
    """Images and everything drawn for them."""

    pixels: np.ndarray
    collections: Tensor
    draws: Draws


class AutoencoderStage(TrainingStage[Batch]):
    """Trains encoders, fuser and decoder."""

    stage = Stage.AUTOENCODER

    def __init__(self, config: TrainConfig, engine: Engine, model: Autoencoder, images: ImageSet) -> None:
        super().__init__(engine, Optimizer(model, config.learning_rate), config.batch_size)
        self.config = config
        self.model = model
        self.images = images
        self.order = Order(images.train, config.seed, self.stage)
        self.features = Backbone(Lite.LITE1).to(engine.device)
        with torch.no_grad():
            parts = [channel_statistics(self.features(image)) for image in self._some_images().split(32)]
        statistics = torch.cat(parts)
        mean, deviation = statistics.mean(0), statistics.std(0).clamp(min=1e-3)
        predictor = StylePredictor(model.config.style_dim, len(images.collections), mean, deviation).to(engine.device)
        self.auxiliary = {"style_predictor": Optimizer(predictor, config.learning_rate)}
        scale = [deviation.clamp(min=1e-3) for deviation in deviations_in(mean, self.features.channels)]
        self.terms = autoencoder_terms(config.objective, predictor, scale)

    def _some_images(self) -> Map:
        some = evenly_spaced(self.images.train, MAX_STATISTICS_IMAGES)
        return to_images(self.images.batch(some), self.engine.device)

    def initialize(self) -> None:
        """Let the untrained decoder output the images' mean colour."""
        self.model.decoder.initialize_output(self._some_images().mean((0, 2, 3)))

    def draw(self, step: int, images_seen: int) -> Batch:
        """Images by the seeded order, those of a collection side by side; random crops."""
        indices = self.order.take(images_seen, self.batch_size)
        indices = indices[np.argsort(self.images.collection_ids[indices], kind="stable")]
        collections = torch.from_numpy(self.images.collection_ids[indices])
        seed, device = self.config.seed, self.engine.device
        shapes = latent_shapes(self.model.config).map(lambda shape: (self.batch_size, *shape))
        noise = noise_of(seed, self.stage, step, shapes, device)
        draws = Draws.draw(
            self.config.objective, collections, noise, self.features.channels, generator(seed, self.stage, step)
        )
        return Batch(self.images.batch(indices, rng(seed, self.stage, step)), collections, draws)

    def loss(self, batch: Batch, rows: slice, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum of the active terms over some rows, and the terms by name."""
        device = self.engine.device
        view = MicroBatch(
            self.model,
            self.features,
            to_images(batch.pixels[rows], device),
            batch.collections[rows].to(device),
            batch.draws.rows(rows, device),
            subset_of(rows),
            progress,
            encoders_learn=progress < self.config.objective.freeze_encoders_after,
        )
        active = [term for term in self.terms if term.is_active(view)]
        values = {term.name: term.compute(view) for term in active}
        total = torch.stack([term.weight * values[term.name] for term in active]).sum()
        return total, {name: value.detach() for name, value in (values | view.rates_by_level()).items()}
