"""An encoder: one view in, one expert per latent level out."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impasto.config import ModelConfig
from impasto.model.blocks import Map, ResidualBlock, Vector, conv, linear, upsample_nearest
from impasto.model.gaussian import Gaussian

LOG_VARIANCE_BOUND = 7.0
"""Experts' log-variances stay within plus and minus this: neither certain beyond float range nor useless."""

Hierarchy = tuple[Gaussian, Gaussian, Gaussian, Gaussian]
"""One Gaussian per latent level, coarse to fine: style (batch, style_dim), then maps at strides 32, 16 and 8."""


GLANCE_SIDES = (8, 8, 4)
"""Height and width, in samples of the view, of what a linear expert sees at strides 32, 16 and 8."""


class Features(NamedTuple):
    """What an encoder makes of its view, at strides 2, 4, 32, 16 and 8 of the picture."""

    stage1: Map
    stage2: Map
    coarse: Map
    middle: Map
    fine: Map


class Encoder(nn.Module):
    """Three 5x5 convolution stages with 2x2 pooling to stride 8, residual stages to 32, and a feature pyramid.

    The view comes at half the picture's size, so two of the three stages pool. Every pyramid level (FPN, Lin 2017)
    has a head for its map's Gaussian; pooled means and deviations of the first stages and of all pyramid levels give
    the style. Where the model has linear experts, each level also glances at its squares of the view: one linear map,
    the counterpart of the decoder's sketch, which can be had in closed form.
    """

    def __init__(self, config: ModelConfig, view_channels: int) -> None:
        super().__init__()
        widths, pyramid = config.encoder_widths, config.pyramid_width
        self.stage1 = conv(view_channels, widths[0], 5)
        self.stage2 = conv(widths[0], widths[1], 5)
        self.stage3 = conv(widths[1], widths[2], 5)
        self.shortcut = conv(16 * view_channels, widths[2], 1, gain=1.0)
        self.refine8 = ResidualBlock(widths[2])
        self.widen16 = conv(widths[2], widths[3], 3)
        self.refine16 = ResidualBlock(widths[3])
        self.widen32 = conv(widths[3], widths[4], 3)
        self.laterals = nn.ModuleList([conv(width, pyramid, 1, gain=1.0) for width in widths[:1:-1]])
        self.smooth = nn.ModuleList([conv(pyramid, pyramid, 3, gain=1.0) for _ in range(3)])
        self.glances = nn.ModuleList()
        if config.linear_experts:
            for latent, side in zip(config.map_channels, GLANCE_SIDES, strict=True):
                self.glances.append(conv(side**2 * view_channels, latent, 1, gain=1.0))
        depths = [pyramid + latent * config.linear_experts for latent in config.map_channels]
        self.heads = nn.ModuleList(
            [conv(depth, 2 * latent, 1, gain=0.5) for depth, latent in zip(depths, config.map_channels, strict=True)]
        )
        features = 2 * (widths[0] + widths[1] + sum(depths))
        self.style_hidden = linear(features, 256)
        self.style_head = linear(256, 2 * config.style_dim, gain=0.5)

    def forward(self, view: Map) -> Hierarchy:
        """The expert of every level; ``view`` is (batch, view_channels, height / 2, width / 2)."""
        features = self.features(view)
        return self.style(torch.cat([mean_and_deviation(*moments(x)) for x in features], 1)), *self.maps(features[2:])

    def features(self, view: Map) -> Features:
        """The first two stages, and the pyramid: all that the experts are said from."""
        x2 = F.silu(self.stage1(view))
        x4 = F.silu(self.stage2(F.avg_pool2d(x2, 2)))
        # A space-to-channel shortcut (Chen 2024) hands the squares of stride 8 on as they are, see the decoder's
        # sketch.
        squares = F.pixel_unshuffle(view, 4).contiguous(memory_format=torch.channels_last)
        x8 = self.refine8(self.stage3(F.avg_pool2d(x4, 2)) + self.shortcut(squares))
        x16 = self.refine16(self.widen16(F.avg_pool2d(F.silu(x8), 2)))
        x32 = self.widen32(F.avg_pool2d(F.silu(x16), 2))

        pyramid: list[Tensor] = []
        for x, lateral in zip((x32, x16, x8), self.laterals, strict=True):
            level = lateral(F.silu(x))
            pyramid.append(level + upsample_nearest(pyramid[-1]) if pyramid else level)
        pyramid = [F.silu(smooth(level)) for smooth, level in zip(self.smooth, pyramid, strict=True)]
        for level, (glance, seen) in enumerate(zip(self.glances, glanced_at(view), strict=False)):
            pyramid[level] = torch.cat([pyramid[level], glance(seen)], 1)
        return Features(x2, x4, *pyramid)

    def style(self, statistics: Vector) -> Gaussian:
        """The style level's expert, from means and deviations of all features over the picture."""
        return _bounded(self.style_head(F.silu(self.style_hidden(statistics))))

    def maps(self, pyramid: Sequence[Map]) -> tuple[Gaussian, Gaussian, Gaussian]:
        """The experts of the maps, each from its level of the pyramid (coarse to fine), position by position."""
        coarse, middle, fine = (_bounded(head(x)) for head, x in zip(self.heads, pyramid, strict=True))
        return coarse, middle, fine


def glanced_at(view: Map) -> list[Map]:
    """What the linear experts see: the view in squares, at strides 32 (of its half size), 16 and 8, as channels."""
    views = (F.avg_pool2d(view, 2), view, view)
    return [
        F.pixel_unshuffle(v, side).contiguous(memory_format=torch.channels_last)
        for v, side in zip(views, GLANCE_SIDES, strict=True)
    ]


def moments(x: Map) -> tuple[Vector, Vector]:
    """Mean and mean square of every channel over the picture."""
    x = x.float()
    return x.mean((2, 3)), x.square().mean((2, 3))


def mean_and_deviation(mean: Vector, mean_square: Vector) -> Vector:
    """Means and standard deviations side by side, from what `moments` gives."""
    variance = mean_square - mean.square()
    return torch.cat([mean, torch.sqrt(variance.clamp(min=0) + 1e-5)], 1)


def _bounded(parameters: Tensor) -> Gaussian:
    mean, raw = parameters.float().chunk(2, 1)
    return Gaussian(mean, LOG_VARIANCE_BOUND * torch.tanh(raw / LOG_VARIANCE_BOUND))
