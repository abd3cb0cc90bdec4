"""Stage 1: the terms of the autoencoder's loss, over one lazily computed view of the micro-batch."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from impasto.backbone import Backbone, channel_statistics, feature_distance
from impasto.config import ObjectiveConfig
from impasto.model.autoencoder import Autoencoder, Experts, modes
from impasto.model.blocks import Map
from impasto.model.decoder import Latents
from impasto.model.encoder import Posterior
from impasto.model.fuser import attenuate, fuse
from impasto.model.levels import LEVEL_NAMES, Levels
from impasto.objective.augmentation import AffineAugmentation
from impasto.objective.destylize import Destylization
from impasto.objective.expert_weights import draw_style_sources, draw_weights
from impasto.objective.reconstruction import charbonnier, reconstruction_loss
from impasto.objective.style import StylePredictor
from impasto.objective.swap import SwapSources, colour_error, structure_error, swapped
from impasto.objective.texture import Slices

STYLE_GROUP = 8
"""Images share styles within groups of this many consecutive rows, so that processes can compute groups separately."""
SUBSET_STEP = 4
"""Terms that need frozen features see every fourth image: they cost as much as the decoder."""


@dataclass(frozen=True)
class Draws:
    """Everything random about one batch, drawn beforehand so that it can be sliced for micro-batches and processes."""

    weights: Float[Tensor, "batch expert level"]
    keeps: Float[Tensor, "batch level"]
    style_sources: Float[Tensor, "batch batch"]
    noise: Latents
    augmentation: AffineAugmentation
    slices: Slices
    swap: SwapSources
    destylization: Destylization

    @classmethod
    def draw(
        cls,
        config: ObjectiveConfig,
        collections: Int[Tensor, " batch"],
        noise: Latents,
        channels: Sequence[int],
        generator: torch.Generator,
    ) -> "Draws":
        """For images of ``collections``; ``channels`` are those of the feature maps that are compared."""
        batch, device = len(collections), noise.style.device
        weights, keeps = draw_weights(config, batch, generator)
        groups = [draw_style_sources(config, part, generator) for part in collections.split(STYLE_GROUP)]
        return cls(
            weights,
            keeps,
            torch.block_diag(*groups),
            noise,
            AffineAugmentation.draw(batch, generator, device),
            Slices.draw(channels, generator, device),
            SwapSources.draw(batch, STYLE_GROUP, generator),
            Destylization.draw(batch, generator),
        )

    def rows(self, rows: slice, device: torch.device) -> "Draws":
        """The draws of some rows; a style that comes from other rows becomes the image's own.

        Those of terms on a subset are of every fourth row of the whole batch.
        """
        sources = self.style_sources[rows, rows]
        alone = sources.sum(1, keepdim=True) == 0
        sources = torch.where(alone, torch.eye(len(sources)), sources / sources.sum(1, keepdim=True).clamp(min=1e-9))
        subset = subset_of(rows)
        return replace(
            self,
            weights=self.weights[rows].to(device),
            keeps=self.keeps[rows].to(device),
            style_sources=sources.to(device),
            noise=self.noise.map(lambda n: n[rows].to(device)),
            augmentation=self.augmentation[rows][subset],
            swap=self.swap.rows(rows, subset).to(device),
            destylization=self.destylization[rows][subset],
        )


def subset_of(rows: slice) -> slice:
    """Within some rows of a batch, every fourth of the whole batch."""
    return slice(-rows.start % SUBSET_STEP, None, SUBSET_STEP)


@dataclass(frozen=True, eq=False)
class MicroBatch:
    """Some images of a batch and everything computed from them, each thing once and only if a term asks for it."""

    model: Autoencoder
    features: Backbone
    image: Map
    """In [0, 1]."""
    collections: Int[Tensor, " batch"]
    draws: Draws
    """Of these rows."""
    subset: slice
    """The images for terms that need features."""
    progress: float
    """Part of the stage's budget that is spent, 0 to 1."""
    encoders_learn: bool

    @cached_property
    def experts(self) -> Experts:
        """The expert outputs; without gradient if the encoders are frozen."""
        with torch.set_grad_enabled(self.encoders_learn and torch.is_grad_enabled()):
            return self.model.experts(self.image)

    @cached_property
    def posterior(self) -> Posterior:
        """Of the drawn experts, with the drawn pools of styles."""
        with torch.set_grad_enabled(self.encoders_learn and torch.is_grad_enabled()):
            posterior = fuse(self.experts, self.draws.weights)
        return posterior.with_style(posterior.style.pool(self.draws.style_sources))

    @cached_property
    def samples(self) -> Latents:
        """Of the posterior, at every level."""
        return self.posterior.map(lambda gaussian, noise: gaussian.sample(noise), self.draws.noise)

    @cached_property
    def output(self) -> Map:
        """The images decoded from the levels that are kept."""
        kept = [
            z * keep.reshape(-1, *[1] * (z.dim() - 1))
            for z, keep in zip(self.samples, self.draws.keeps.unbind(1), strict=True)
        ]
        return self.model.decoder(Levels.of(kept))

    @cached_property
    def rates(self) -> Float[Tensor, " level"]:
        """KL divergence of each level from the prior in nats; dropped levels count as zero."""
        kept = zip(self.posterior, self.draws.keeps.unbind(1), strict=True)
        return torch.stack([(gaussian.kl() * keep).mean() for gaussian, keep in kept])

    def rates_by_level(self) -> dict[str, Tensor]:
        """The same by name, for the log."""
        return {f"rate_{name}": rate for name, rate in zip(LEVEL_NAMES, self.rates, strict=True)}

    @cached_property
    def subset_image(self) -> Map:
        """The images of the subset."""
        return self.image[self.subset]

    @cached_property
    def subset_style(self) -> Float[Tensor, "subset style"]:
        """Their sampled styles."""
        return self.samples.style[self.subset]

    def seen(self, image: Map) -> list[Map]:
        """Frozen features of images of the subset, under the subset's augmentation."""
        return self.features(self.draws.augmentation(image))

    @cached_property
    def target_features(self) -> list[Map]:
        """Of the images of the subset."""
        with torch.no_grad():
            return self.seen(self.subset_image)

    @cached_property
    def swap_output(self) -> Map:
        """Swaps of the subset, decoded."""
        return self.model.decoder(modes(swapped(self.experts, self.subset, self.draws.swap, self.model.config)))

    @cached_property
    def destylized_output(self) -> Map:
        """The subset, decoded from the maps of destylised copies in the images' own styles."""
        with torch.no_grad():
            experts = self.model.experts(self.draws.destylization(self.subset_image))
            latents = modes(attenuate(experts, self.draws.swap.strength, self.model.config))
        return self.model.decoder(latents.with_style(self.subset_style))


@dataclass(frozen=True)
class Term:
    """One term of the loss: ``weight`` times what ``compute`` gives, between two parts of the stage."""

    name: str
    weight: float
    compute: Callable[[MicroBatch], Float[Tensor, ""]]
    starts_at: float = 0.0
    ends_at: float = math.inf
    on_subset: bool = False
    """Whether it needs an image of the subset."""

    def is_active(self, batch: MicroBatch) -> bool:
        """Whether the term counts for ``batch``."""
        is_computable = not self.on_subset or len(batch.subset_image) > 0
        return self.weight > 0 and self.starts_at <= batch.progress < self.ends_at and is_computable


def autoencoder_terms(
    config: ObjectiveConfig, predictor: StylePredictor, scale: Sequence[Float[Tensor, " _channel"]]
) -> tuple[Term, ...]:
    """The terms of stage 1.

    ``predictor`` trains along; ``scale`` holds the standard deviations of each feature map's channels over the images.
    """

    def reconstruction(batch: MicroBatch) -> Tensor:
        return reconstruction_loss(batch.output, batch.image).mean()

    def linear_skip(batch: MicroBatch) -> Tensor:
        """The linear skips of the coarse prefixes against the image at their resolutions."""
        samples, half = batch.samples, F.avg_pool2d(batch.image, 2)
        *coarse_maps, fine = samples.maps
        coarse, middle, _ = batch.model.decoder.linear_pyramid(replace(samples, maps=(*coarse_maps, fine.detach())))
        return charbonnier(coarse - F.avg_pool2d(half, 2)).mean() + charbonnier(middle - half).mean()

    def kl(batch: MicroBatch) -> Tensor:
        """The weight warms up; meanwhile levels with more than their share pay more of it (Vahdat & Kautz 2020)."""
        warmth = min(1.0, batch.progress / config.kl_warmup) if config.kl_warmup > 0 else 1.0
        rates = batch.rates
        if warmth < 1:
            share = rates.detach() + 0.05 * rates.detach().sum() + 1e-6
            rates = rates * (warmth + (1 - warmth) * share / share.mean())
        return (0.1 + 0.9 * warmth) * rates.sum()

    def style_collection(batch: MicroBatch) -> Tensor:
        return predictor.collection_error(batch.samples.style, batch.collections)

    def style_statistics(batch: MicroBatch) -> Tensor:
        return predictor.statistics_error(batch.subset_style, channel_statistics(batch.target_features))

    def features(batch: MicroBatch) -> Tensor:
        return feature_distance(batch.seen(batch.output[batch.subset]), batch.target_features).mean()

    def texture(batch: MicroBatch, output: Map, target: list[Map]) -> Float[Tensor, " subset"]:
        return batch.draws.slices.error(batch.seen(output), target, list(scale))

    def swap_texture(batch: MicroBatch) -> Tensor:
        with torch.no_grad():
            target = batch.seen(batch.image[batch.draws.swap.of("texture")])
        return (batch.draws.swap.strength[:, 0] * texture(batch, batch.swap_output, target)).mean()

    def swap_colours(batch: MicroBatch) -> Tensor:
        source = batch.image[batch.draws.swap.of("pixel")]
        return (batch.draws.swap.strength[:, 0] * colour_error(batch.swap_output, source)).mean()

    def swap_structure(batch: MicroBatch) -> Tensor:
        return structure_error(batch.swap_output, batch.subset_image).mean()

    def destylized(batch: MicroBatch) -> Tensor:
        pixels = reconstruction_loss(batch.destylized_output, batch.subset_image)
        grain = texture(batch, batch.destylized_output, batch.target_features)
        return (pixels + config.destylized_texture_weight * grain).mean()

    frozen, stylized, swap = config.freeze_encoders_after, config.stylization_start, config.swap_weight
    return (
        Term("reconstruction", 1.0, reconstruction),
        Term("linear_skip", config.linear_skip_weight, linear_skip),
        Term("kl", config.kl_weight, kl),
        Term("style_collection", config.style_weight, style_collection, ends_at=frozen),
        Term("style_statistics", config.style_weight, style_statistics, ends_at=frozen, on_subset=True),
        Term("features", config.feature_weight, features, config.feature_start, on_subset=True),
        Term("swap_texture", swap * config.swap_texture_weight, swap_texture, stylized, on_subset=True),
        Term("swap_colours", swap * config.swap_colour_weight, swap_colours, stylized, on_subset=True),
        Term("swap_structure", swap * config.swap_structure_weight, swap_structure, stylized, on_subset=True),
        Term("destylized", config.destylized_weight, destylized, stylized, on_subset=True),
    )
