"""Stage 1: the autoencoder."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from impasto.config import TrainConfig
from impasto.data import PictureSet
from impasto.events import Stage
from impasto.model.autoencoder import Autoencoder
from impasto.model.blocks import Map
from impasto.objective.autoencoder import Draws, autoencoder_loss
from impasto.objective.experts import draw_style_sources, draw_weights
from impasto.training.engine import Engine
from impasto.training.optimizer import Optimizer
from impasto.training.seeds import Order, generator, rng
from impasto.training.stage import TrainingStage

STYLE_GROUP = 8
"""Pictures share styles within groups of so many rows of a batch, so that a share of a batch is computed like the whole."""


@dataclass(frozen=True)
class Batch:
    """Pictures and what was drawn for them."""

    pixels: np.ndarray
    draws: Draws


class AutoencoderStage(TrainingStage[Batch]):
    """Learns to say pictures in levels and to paint them again."""

    stage = Stage.AUTOENCODER

    def __init__(self, config: TrainConfig, engine: Engine, model: Autoencoder, pictures: PictureSet) -> None:
        super().__init__(engine, Optimizer(model, config.learning_rate), config.batch_size)
        self.config = config
        self.model = model
        self.pictures = pictures
        self.order = Order(pictures.train, config.seed, self.stage)

    def draw(self, step: int, images_seen: int) -> Batch:
        """Pictures by the seeded order, those of a collection side by side; random crops."""
        chosen = self.order.take(images_seen, self.batch_size)
        collections = self.pictures.collection_ids[chosen]
        order = np.argsort(collections, kind="stable")
        chosen, collections = chosen[order], torch.from_numpy(collections[order])
        draw, objective = generator(self.config.seed, self.stage, step), self.config.objective
        weights, keeps = draw_weights(objective, self.batch_size, draw)
        groups = [draw_style_sources(objective, part, draw) for part in collections.split(STYLE_GROUP)]
        model, side = self.model.config, self.model.config.resolution
        shapes = [(model.style_dim,)] + [
            (channels, side // stride, side // stride)
            for channels, stride in zip(model.map_channels, (32, 16, 8), strict=True)
        ]
        noise = [torch.randn(self.batch_size, *shape, generator=draw) for shape in shapes]
        pixels = self.pictures.batch(chosen, rng(self.config.seed, self.stage, step))
        draws = Draws(weights, keeps, torch.block_diag(*groups), (noise[0], noise[1], noise[2], noise[3]))
        return Batch(pixels, draws)

    def loss(self, batch: Batch, rows: slice, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        """Reconstruction and rate of some rows."""
        picture = to_device(batch.pixels[rows], self.engine.device)
        loss = autoencoder_loss(self.model, picture, batch.draws.rows(rows, self.engine.device))
        return loss.total(self.config.objective, progress), loss.terms()


def to_device(pixels: np.ndarray, device: torch.device) -> Map:
    """uint8 (batch, channels, height, width) as float in [0, 1], channels last."""
    picture = torch.from_numpy(pixels).to(device, non_blocking=True)
    return (picture.float() / 255).contiguous(memory_format=torch.channels_last)
