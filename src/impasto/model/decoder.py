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


def latent_shapes(config: ModelConfig) -> list[tuple[int, ...]]:
    """Shape of one picture's latent at every level, style first, at the model's own resolution."""
    sides = [config.resolution // stride for stride in MAP_STRIDES]
    return [(config.style_dim,), *((n, side, side) for n, side in zip(config.map_channels, sides, strict=True))]


class Decoder(nn.Module):
    """From stride 32 up, each level's latent added on the way, every residual block modulated by the style.

    Besides, each map gives a linear sketch of the squares that it covers (a channel-to-space shortcut, Chen 2024, "Deep
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
        self.sketches = nn.ModuleList(
            [
                conv(latent, config.channels * stride**2, 1, gain=0.02)
                for latent, stride in zip(config.map_channels, MAP_STRIDES, strict=True)
            ]
        )

    @torch.no_grad()
    def start_from(self, mean: Float[Tensor, " channel"]) -> None:
        """Let an untrained decoder paint the pictures' mean colour, which saves it the first hundreds of steps."""
        bias = self.paint.project.bias
        assert bias is not None
        bias.copy_((mean - 0.5).repeat_interleave(4))

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
        painted = self.paint(F.silu(x)).float() + 0.5
        for latent, sketch, stride in zip(latents[1:], self.sketches, MAP_STRIDES, strict=True):
            painted = painted + F.pixel_shuffle(sketch(latent).float(), stride)
        return painted
