"""The decoder: an image from one latent per level."""

import itertools

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from impasto.config import ModelConfig
from impasto.model.blocks import Map, StyledBlock, Upsample, conv, linear
from impasto.model.levels import MAP_STRIDES, Levels

Latents = Levels[Tensor]
"""One tensor per latent level: style (batch, style_dim), then maps (batch, channels, height, width)."""

STYLE_FEATURES = 256
SKIP_SIDE = 8
"""Height and width, in samples, of the block that a linear skip draws from one position of a map."""


def latent_shapes(config: ModelConfig, size: tuple[int, int] | None = None) -> Levels[tuple[int, ...]]:
    """Shape of one image's latent at every level.

    ``size`` is the image's height and width in pixels, multiples of 32; it defaults to the model's resolution.
    """
    height, width = size or (config.resolution, config.resolution)
    maps = zip(config.map_channels, MAP_STRIDES, strict=True)
    return Levels((config.style_dim,), tuple((channels, height // s, width // s) for channels, s in maps))


class Decoder(nn.Module):
    """From stride 32 up, each level's latent added at its stride, every residual block modulated by the style.

    In addition, the maps draw a pyramid through linear skips (a channel-to-space shortcut, Chen 2024, "Deep compression
    autoencoder"): the best linear code is found in the first minutes, and the network learns the residual.

    Fully convolutional, without statistics of the image: any height and width that are multiples of 32.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        widths = config.decoder_widths
        self.style = linear(config.style_dim, STYLE_FEATURES)
        self.style_bias = linear(STYLE_FEATURES, widths[0])
        self.latent_in = nn.ModuleList(
            [conv(latent, width, 1, gain=1.0) for latent, width in zip(config.map_channels, widths, strict=False)]
        )
        self.stages = nn.ModuleList(
            nn.ModuleList([StyledBlock(width, STYLE_FEATURES) for _ in range(depth)])
            for width, depth in zip(widths, config.decoder_depths, strict=True)
        )
        self.upsamples = nn.ModuleList([Upsample(a, b) for a, b in itertools.pairwise(widths)])
        self.image_out = Upsample(widths[-1], config.channels, 3, gain=0.3)
        samples = config.channels * SKIP_SIDE**2
        self.linear_skips = nn.ModuleList([conv(latent, samples, 1, gain=0.02) for latent in config.map_channels])

    @torch.no_grad()
    def initialize_output(self, mean: Float[Tensor, " channel"]) -> None:
        """Let an untrained decoder output the images' mean colour, which saves the first hundreds of steps."""
        coarsest = self.linear_skips[0]
        assert isinstance(coarsest, nn.Conv2d) and coarsest.bias is not None
        coarsest.bias.copy_((mean - 0.5).repeat_interleave(SKIP_SIDE**2))

    def forward(self, latents: Latents) -> Map:
        """Images with values around [0, 1], not clipped: (batch, channels, height, width)."""
        style = F.silu(self.style(latents.style))
        x = self.style_bias(style)[:, :, None, None].to(memory_format=torch.channels_last)
        for stage, blocks in enumerate(self.stages):
            assert isinstance(blocks, nn.ModuleList)
            if stage < len(self.latent_in):
                x = x + self.latent_in[stage](latents.maps[stage])
            for block in blocks:
                x = block(x, style)
            if stage < len(self.upsamples):
                x = self.upsamples[stage](x)
        return self.linear_pyramid(latents)[-1] + self.image_out(F.silu(x)).float()

    def linear_pyramid(self, latents: Latents) -> list[Map]:
        """The linear part of each coarse prefix of the maps, at a quarter, half and all of the height and width.

        Every map draws ``SKIP_SIDE``^2 samples per position, on top of the coarser image, enlarged bilinearly.
        """
        pyramid: list[Map] = []
        for latent, skip in zip(latents.maps, self.linear_skips, strict=True):
            ground = F.interpolate(pyramid[-1], scale_factor=2, mode="bilinear") if pyramid else 0.5
            pyramid.append(F.pixel_shuffle(skip(latent).float(), SKIP_SIDE) + ground)
        return pyramid


def clamp_valid(image: Map) -> Map:
    """The nearest valid images: in [0, 1], and over white no darker than alpha allows."""
    image = image.clamp(0, 1)
    if image.shape[1] == 3:
        return image
    colour, alpha = image.split([3, 1], 1)
    return torch.cat([torch.maximum(colour, 1 - alpha), alpha], 1)
