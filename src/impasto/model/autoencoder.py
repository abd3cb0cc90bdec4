"""The hierarchical multi-encoder VAE: views, encoders, fuser and decoder in one module."""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from impasto.config import ModelConfig
from impasto.model.blocks import Map
from impasto.model.decoder import Decoder, Latents, clamp_valid
from impasto.model.encoder import Encoder, Posterior
from impasto.model.fuser import fuse
from impasto.model.gaussian import Gaussian
from impasto.model.levels import NUM_LEVELS
from impasto.model.views import VIEW_NAMES, Views, view_channels, views_of

NUM_EXPERTS = len(VIEW_NAMES)
Experts = tuple[Posterior, ...]
"""The output of the pixel, orientation and texture encoder: one Gaussian per level each."""


def modes(posterior: Posterior) -> Latents:
    """The most likely latents."""
    return posterior.map(lambda gaussian: gaussian.mode)


class Autoencoder(nn.Module):
    """Image -> views -> experts per level -> posterior -> latents -> image."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        channels = view_channels(config.channels, signed=config.signed_edges)
        self.encoders = nn.ModuleDict({name: Encoder(config, n) for name, n in zip(VIEW_NAMES, channels, strict=True)})
        self.decoder = Decoder(config)

    def encoder(self, view: str) -> Encoder:
        """The encoder of one view."""
        encoder = self.encoders[view]
        assert isinstance(encoder, Encoder)
        return encoder

    def views(self, image: Map) -> Views:
        """The inputs of the encoders, from images in [0, 1]."""
        return views_of(image, signed=self.config.signed_edges)

    def experts(self, image: Map) -> Experts:
        """The expert output of the pixel, orientation and texture encoder for images in [0, 1]."""
        return tuple(self.encoders[name](view) for name, view in zip(VIEW_NAMES, self.views(image), strict=True))

    def posterior(self, image: Map, weights: Float[Tensor, "batch expert level"] | None = None) -> Posterior:
        """The posterior of images in [0, 1]; ``weights`` of the experts default to 1."""
        if weights is None:
            weights = image.new_ones(len(image), NUM_EXPERTS, NUM_LEVELS)
        return fuse(self.experts(image), weights)

    def styles(self, image: Map) -> Gaussian:
        """The style level of the posterior of images in [0, 1]."""
        return self.posterior(image).style

    def decode(self, latents: Latents) -> Map:
        """Images in [0, 1] from one latent per level."""
        return clamp_valid(self.decoder(latents))

    def reconstruct(self, image: Map) -> Map:
        """Images decoded from the posterior's modes."""
        return self.decode(modes(self.posterior(image)))

    def prefixes(self, posterior: Posterior) -> Iterator[Map]:
        """Yield images decoded from the mode of one level, of two, and so on; the prior's mode for the rest."""
        latents = modes(posterior)
        return (self.decode(latents.prefix(level + 1, torch.zeros_like)) for level in range(NUM_LEVELS))
