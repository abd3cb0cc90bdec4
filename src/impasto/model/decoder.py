"""The decoder: paints a picture from one latent per level."""

import itertools

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from impasto.config import ModelConfig
from impasto.model.blocks import Map, StyledBlock, Upsample, conv, linear

Latents = tuple[Tensor, Tensor, Tensor, Tensor]
"""One tensor per latent level, coarse to fine: style (batch, style_dim), then maps at strides 32, 16 and 8."""

MAP_STRIDES = (32, 16, 8)
STYLE_FEATURES = 256
SKETCH_SIDE = 8
"""Height and width, in samples, of what one position of a map adds to the linear sketch."""


def latent_shapes(config: ModelConfig, size: tuple[int, int] | None = None) -> list[tuple[int, ...]]:
    """Shape of one picture's latent at every level, style first.

    ``size`` is the picture's height and width in pixels, multiples of 32; the model's own resolution where not given.
    """
    height, width = size or (config.resolution, config.resolution)
    maps = zip(config.map_channels, MAP_STRIDES, strict=True)
    return [(config.style_dim,), *((channels, height // stride, width // stride) for channels, stride in maps)]


class Decoder(nn.Module):
    """From stride 32 up, each level's latent added on the way, every residual block modulated by the style.

    Besides, the maps draw a linear sketch, each its part of a pyramid (a channel-to-space shortcut, Chen 2024, "Deep
    compression autoencoder"): the best linear code is found in the first minutes, and the network learns what is left.

    Fully convolutional, without any statistics of the picture: any height and width that are multiples of 32.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        widths = config.decoder_widths
        self.style = linear(config.style_dim, STYLE_FEATURES)
        self.style_bias = linear(STYLE_FEATURES, widths[0])
        self.enter = nn.ModuleList(
            [conv(latent, width, 1, gain=1.0) for latent, width in zip(config.map_channels, widths, strict=False)]
        )
        self.stages = nn.ModuleList(
            nn.ModuleList([StyledBlock(width, STYLE_FEATURES) for _ in range(depth)])
            for width, depth in zip(widths, config.decoder_depths, strict=True)
        )
        self.upsamples = nn.ModuleList([Upsample(a, b) for a, b in itertools.pairwise(widths)])
        self.paint = Upsample(widths[-1], config.channels, 3, gain=0.3)
        samples = config.channels * SKETCH_SIDE**2
        self.sketches = nn.ModuleList([conv(latent, samples, 1, gain=0.02) for latent in config.map_channels])

    @torch.no_grad()
    def start_from(self, mean: Float[Tensor, " channel"]) -> None:
        """Let an untrained decoder paint the pictures' mean colour, which saves it the first hundreds of steps."""
        coarsest = self.sketches[0]
        assert isinstance(coarsest, nn.Conv2d) and coarsest.bias is not None
        coarsest.bias.copy_((mean - 0.5).repeat_interleave(SKETCH_SIDE**2))

    def forward(self, latents: Latents) -> Map:
        """Pictures with values around [0, 1], not clipped: (batch, channels, height, width)."""
        style = F.silu(self.style(latents[0]))
        x = self.style_bias(style)[:, :, None, None].to(memory_format=torch.channels_last)
        for stage, blocks in enumerate(self.stages):
            assert isinstance(blocks, nn.ModuleList)
            if stage < len(self.enter):
                x = x + self.enter[stage](latents[1 + stage])
            for block in blocks:
                x = block(x, style)
            if stage < len(self.upsamples):
                x = self.upsamples[stage](x)
        return self.sketch(latents)[-1] + self.paint(F.silu(x)).float()

    def sketch(self, latents: Latents) -> list[Map]:
        """What each coarse prefix of the maps says linearly, at a quarter, half and all of the height and width.

        Every map draws ``SKETCH_SIDE``^2 samples per position, on top of the coarser sketch, smoothly enlarged.
        """
        drawn: list[Map] = []
        for latent, layer in zip(latents[1:], self.sketches, strict=True):
            ground = F.interpolate(drawn[-1], scale_factor=2, mode="bilinear") if drawn else 0.5
            drawn.append(F.pixel_shuffle(layer(latent).float(), SKETCH_SIDE) + ground)
        return drawn


def possible(painted: Map) -> Map:
    """The nearest pictures to those ``painted`` that can be: in [0, 1], and over white no darker than alpha allows."""
    painted = painted.clamp(0, 1)
    if painted.shape[1] == 3:
        return painted
    colour, alpha = painted.split([3, 1], 1)
    return torch.cat([torch.maximum(colour, 1 - alpha), alpha], 1)
