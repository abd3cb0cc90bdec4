"""Stage 1: the autoencoder."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from impasto.backbone import Backbone, Lite, channel_statistics, deviations_in, feature_distance
from impasto.config import TrainConfig
from impasto.data import PictureSet, spread
from impasto.events import Stage
from impasto.model.autoencoder import Autoencoder, means
from impasto.model.blocks import Map
from impasto.model.decoder import latent_shapes
from impasto.model.fuser import faded
from impasto.objective.adversary import (
    Augmentation,
    ProjectedDiscriminator,
    discriminator_loss,
    painter_loss,
)
from impasto.objective.autoencoder import AutoencoderLoss, Draws, autoencoder_loss
from impasto.objective.experts import draw_style_sources, draw_weights
from impasto.objective.glimpse import Glimpse
from impasto.objective.mixture import Mixing, colour_error, mixed, structure_error
from impasto.objective.moved import Moved
from impasto.objective.plain import Plainness
from impasto.objective.reconstruction import reconstruction_loss
from impasto.objective.style import StyleReader
from impasto.objective.texture import Slices
from impasto.training.engine import Engine
from impasto.training.linear_start import start_linear
from impasto.training.optimizer import Optimizer
from impasto.training.seeds import Order, generator, noise_of, rng
from impasto.training.stage import TrainingStage

STYLE_GROUP = 8
"""Pictures share styles within groups of so many rows of a batch: a share of a batch is computed like the whole."""
LOOKED_AT = 4
"""The losses that look at features see one picture in so many: they cost as much as the painting itself."""
MIXED = {"texture": 2.0, "colours": 4.0, "structure": 0.3}
"""Weights of what mixtures must show, within theirs."""
TWIN_TEXTURE = 0.3
"""Weight of the texture beside the pixels, of what is painted from plain twins."""
TWIN_MOVED = 2.0
"""Weight of how differently a part of a plain twin is painted at another place, beside the pixels of the whole."""
MOST_STARTED_FROM = 2**23
"""Pixels of the pictures that the first, linear weights are computed from."""


@dataclass(frozen=True)
class Batch:
    """Pictures and what was drawn for them."""

    pixels: np.ndarray
    collections: Tensor
    draws: Draws
    augmentation: Augmentation
    glimpse: Glimpse
    slices: Slices
    mixing: Mixing
    plainness: Plainness
    moved: Moved | None


class AutoencoderStage(TrainingStage[Batch]):
    """Learns to say pictures in levels and to paint them again."""

    stage = Stage.AUTOENCODER

    def __init__(self, config: TrainConfig, engine: Engine, model: Autoencoder, pictures: PictureSet) -> None:
        super().__init__(engine, Optimizer(model, config.learning_rate), config.batch_size)
        self.config = config
        self.model = model
        self.pictures = pictures
        self.order = Order(pictures.train, config.seed, self.stage)
        self.features = Backbone(Lite.LITE1).to(engine.device)
        discriminator = ProjectedDiscriminator(self.features.channels, config.seed % 2**32).to(engine.device)
        self.judge = Optimizer(discriminator, config.learning_rate)
        with torch.no_grad():
            found = [channel_statistics(self.features(picture)) for picture in self._some_pictures().split(32)]
        statistics = torch.cat(found)
        mean, deviation = statistics.mean(0), statistics.std(0).clamp(min=1e-3)
        reader = StyleReader(model.config.style_dim, len(pictures.collections), mean, deviation)
        self.reader = Optimizer(reader.to(engine.device), config.learning_rate)
        self.assistants = {"judge": self.judge, "reader": self.reader}
        self.grain = [deviation.clamp(min=1e-3) for deviation in deviations_in(mean, self.features.channels)]

    def _some_pictures(self, most: int = 256) -> Tensor:
        return to_device(self.pictures.batch(spread(self.pictures.train, most)), self.engine.device)

    def begin(self) -> None:
        """Let the untrained autoencoder paint the pictures' mean colour, or what can be said of them linearly."""
        if self.config.linear_start:
            some = self._some_pictures(MOST_STARTED_FROM // self.pictures.resolution**2)
            start_linear(self.model, some, self.config.objective.kl_weight)
        else:
            self.model.decoder.start_from(self._some_pictures().mean((0, 2, 3)))

    def draw(self, step: int, images_seen: int) -> Batch:
        """Pictures by the seeded order, those of a collection side by side; random crops."""
        chosen = self.order.take(images_seen, self.batch_size)
        collections = self.pictures.collection_ids[chosen]
        order = np.argsort(collections, kind="stable")
        chosen, collections = chosen[order], torch.from_numpy(collections[order])
        draw, objective = generator(self.config.seed, self.stage, step), self.config.objective
        weights, keeps = draw_weights(objective, self.batch_size, draw)
        groups = [draw_style_sources(objective, part, draw) for part in collections.split(STYLE_GROUP)]
        shapes = [(self.batch_size, *shape) for shape in latent_shapes(self.model.config)]
        style, coarse, middle, fine = noise_of(self.config.seed, self.stage, step, shapes, self.engine.device)
        pixels = self.pictures.batch(chosen, rng(self.config.seed, self.stage, step))
        draws = Draws(weights, keeps, torch.block_diag(*groups), (style, coarse, middle, fine))
        return Batch(
            pixels,
            collections,
            draws,
            Augmentation.draw(self.batch_size, draw, self.engine.device),
            Glimpse.draw(self.batch_size, draw, self.engine.device),
            Slices.draw(self.features.channels, draw, self.engine.device),
            Mixing.draw(self.batch_size, STYLE_GROUP, draw),
            Plainness.draw(self.batch_size, draw),
            Moved.draw(self.model.config.resolution, draw),
        )

    def loss(self, batch: Batch, rows: slice, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        """Reconstruction and rate of some rows; later features, mixtures, twins and the discriminator too."""
        objective = self.config.objective
        picture = to_device(batch.pixels[rows], self.engine.device)
        encoders_learn = progress < objective.encoders_until
        draws = batch.draws.rows(rows, self.engine.device)
        loss = autoencoder_loss(self.model, picture, draws, encoders_learn=encoders_learn)
        total, terms = loss.total(objective, progress), loss.terms()
        few = slice(-rows.start % LOOKED_AT, None, LOOKED_AT)
        real = picture[few]
        features_on = objective.feature_weight > 0 and progress >= objective.feature_start
        judge_on = objective.adversarial_weight > 0 and progress >= objective.adversarial_start
        mixture_on = objective.mixture_weight > 0 and progress >= objective.mixture_start
        twin_on = objective.twin_weight > 0 and progress >= objective.mixture_start
        style_on = objective.style_weight > 0 and encoders_learn
        reader = self.reader.module
        assert isinstance(reader, StyleReader)
        if style_on:
            collections = batch.collections[rows].to(self.engine.device)
            terms["style_maker"] = reader.maker_error(loss.style, collections)
            total = total + objective.style_weight * terms["style_maker"]
        if len(real) and (style_on or features_on or mixture_on or twin_on or judge_on):
            glimpse = batch.glimpse[rows][few]
            with torch.no_grad():
                looks = self.features(glimpse(real))
            if style_on:
                terms["style_look"] = reader.look_error(loss.style[few], channel_statistics(looks))
                total = total + objective.style_weight * terms["style_look"]
            if features_on:
                terms["features"] = feature_distance(self.features(glimpse(loss.painted[few])), looks).mean()
                total = total + objective.feature_weight * terms["features"]
            mixing, redrawn = batch.mixing.rows(rows, few), []
            if mixture_on:
                mixture, errors = self._mixture(loss, picture, few, batch.slices, mixing, glimpse)
                for name, error in errors.items():
                    total = total + objective.mixture_weight * MIXED[name] * error
                    terms[f"mixed_{name}"] = error
                redrawn.append(mixture)
            if twin_on:
                twins = batch.plainness[rows][few](real)
                painted = self._from_twins(twins, loss.style[few], mixing.strength)
                texture = batch.slices.error(self.features(glimpse(painted)), looks, self.grain)
                terms["twin"] = (reconstruction_loss(painted, real) + TWIN_TEXTURE * texture).mean()
                total = total + objective.twin_weight * terms["twin"]
                if batch.moved is not None:
                    again = self._from_twins(batch.moved.part(twins), loss.style[few], mixing.strength)
                    terms["moved"] = batch.moved.error(painted, again).mean()
                    total = total + objective.twin_weight * TWIN_MOVED * terms["moved"]
                redrawn.append(painted)
            if judge_on:
                augment = batch.augmentation[rows][few]
                push, terms["discriminator"] = self._adversarial(loss, few, real, redrawn, augment)
                total = total + push
        return total, {name: term.detach() for name, term in terms.items()}

    def _mixture(
        self, loss: AutoencoderLoss, picture: Map, few: slice, slices: Slices, mixing: Mixing, glimpse: Glimpse
    ) -> tuple[Map, dict[str, Tensor]]:
        """A few pictures mixed with others, and how far each source is from having given what it should."""
        painted = self.model.decoder(means(mixed(loss.experts, few, mixing)))
        texture, colours = (picture[mixing.of(expert).to(picture.device)] for expert in ("texture", "pixel"))
        with torch.no_grad():
            wanted = self.features(glimpse(texture))
        strength = mixing.strength[:, 0].to(picture.device)
        return painted, {
            "texture": (strength * slices.error(self.features(glimpse(painted)), wanted, self.grain)).mean(),
            "colours": (strength * colour_error(painted, colours)).mean(),
            "structure": structure_error(painted, picture[few]).mean(),
        }

    def _from_twins(self, twins: Map, style: Tensor, strength: Tensor) -> Map:
        """Pictures painted from what is told of their plain twins, in their own styles."""
        with torch.no_grad():
            _, coarse, middle, fine = means(faded(self.model.experts(twins), strength.to(twins.device)))
        return self.model.decoder((style, coarse, middle, fine))

    @property
    def _looked_at(self) -> int:
        """Pictures of this process's part of the batch that the losses of features see, over all micro-batches."""
        return -(-self.batch_size // self.engine.num_processes // LOOKED_AT)

    def _adversarial(
        self, loss: AutoencoderLoss, few: slice, real: Map, redrawn: list[Map], augment: Augmentation
    ) -> tuple[Tensor, Tensor]:
        """What to add to the painter's loss, and the discriminator's own loss, whose gradients are added up here."""
        discriminator = self.judge.module

        def pull_and_features(painted: Map, seen: Map) -> tuple[Tensor, list[Map]]:
            features = self.features(augment(seen))
            (pull,) = torch.autograd.grad(painter_loss(discriminator(features)), painted)
            return pull, [level.detach() for level in features]

        # The painter hears the discriminator at a fixed share of what the reconstruction tells it (Esser 2021, eq. 7).
        pull, features = pull_and_features(loss.painted, loss.painted[few])
        (fidelity,) = torch.autograd.grad(loss.reconstruction, loss.painted, retain_graph=True)
        balance = self.config.objective.adversarial_weight * fidelity[few].norm() / (pull.norm() + 1e-8)
        push = (loss.painted * (balance * pull).detach()).sum()
        fakes = [features]
        for painted in redrawn:
            pull, features = pull_and_features(painted, painted)
            push = push + (painted * (balance * pull).detach()).sum()
            fakes.append(features)
        with torch.no_grad():
            authentic = self.features(augment(real))
        verdict = discriminator(authentic)
        judged = torch.stack([discriminator_loss(verdict, discriminator(features)) for features in fakes]).mean()
        (judged * len(real) / self._looked_at).backward()
        return push, judged.detach()


def to_device(pixels: np.ndarray, device: torch.device) -> Map:
    """uint8 (batch, channels, height, width) as float in [0, 1], channels last."""
    picture = torch.from_numpy(pixels).to(device, non_blocking=True)
    return (picture.float() / 255).contiguous(memory_format=torch.channels_last)
