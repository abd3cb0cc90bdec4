"""The hierarchical multi-encoder VAE: views, encoders, fuser and decoder as one."""

from collections.abc import Iterator

from jaxtyping import Float
from torch import Tensor, nn

from impasto.config import ModelConfig
from impasto.model.blocks import Map
from impasto.model.decoder import Decoder, Latents, possible
from impasto.model.encoder import Encoder, Hierarchy
from impasto.model.fuser import fuse
from impasto.model.views import VIEW_NAMES, Views, view_channels, views_of

LEVEL_NAMES = ("style", "stride32", "stride16", "stride8")
"""The latent levels, coarse to fine."""
NUM_EXPERTS = len(VIEW_NAMES)
NUM_LEVELS = len(LEVEL_NAMES)
Experts = tuple[Hierarchy, Hierarchy, Hierarchy]
"""What the pixel, orientation and texture encoder say of a batch of pictures."""


def means(hierarchy: Hierarchy) -> Latents:
    """The likeliest latents: what is said, without how sure it is."""
    style, coarse, middle, fine = (gaussian.mean for gaussian in hierarchy)
    return style, coarse, middle, fine


class Autoencoder(nn.Module):
    """Picture -> views -> experts per level -> fused Gaussians -> latents -> picture."""

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

    def views(self, picture: Map) -> Views:
        """What each encoder is shown of pictures in [0, 1]."""
        return views_of(picture, signed=self.config.signed_edges)

    def experts(self, picture: Map) -> Experts:
        """What the pixel, orientation and texture encoder say of pictures in [0, 1]."""
        views = self.views(picture)
        pixel, orientation, texture = (self.encoders[n](v) for n, v in zip(VIEW_NAMES, views, strict=True))
        return pixel, orientation, texture

    def posterior(self, picture: Map, weights: Float[Tensor, "batch expert level"] | None = None) -> Hierarchy:
        """The fused Gaussians of pictures in [0, 1]; all experts at weight one where no ``weights`` are given."""
        if weights is None:
            weights = picture.new_ones(len(picture), NUM_EXPERTS, NUM_LEVELS)
        return fuse(self.experts(picture), weights)

    def decode(self, latents: Latents) -> Map:
        """Pictures in [0, 1] from one latent per level."""
        return possible(self.decoder(latents))

    def reconstruct(self, picture: Map, num_levels: int = NUM_LEVELS) -> Map:
        """Pictures from the posterior means of the coarsest ``num_levels`` levels, the prior's mean for the rest."""
        return self._painted(self.posterior(picture), num_levels)

    def prefixes(self, picture: Map) -> Iterator[Map]:
        """Yield what `reconstruct` paints from one level, from two, and so on to all."""
        posterior = self.posterior(picture)
        return (self._painted(posterior, level + 1) for level in range(NUM_LEVELS))

    def _painted(self, posterior: Hierarchy, num_levels: int) -> Map:
        style, coarse, middle, fine = (g.mean if i < num_levels else g.mean * 0 for i, g in enumerate(posterior))
        return self.decode((style, coarse, middle, fine))
