"""An encoder: one view in, one expert per latent level out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impasto.config import ModelConfig
from impasto.model.blocks import Map, ResidualBlock, Vector, conv, linear, upsample_nearest
from impasto.model.gaussian import Gaussian
from impasto.model.levels import Levels

LOG_VARIANCE_BOUND = 7.0
"""Experts' log-variances stay within plus and minus this: no expert is certain beyond float range, none useless."""

Posterior = Levels[Gaussian]
"""One Gaussian per latent level: style (batch, style_dim), then maps (batch, channels, height, width)."""


@dataclass(frozen=True)
class Features:
    """Feature maps of an encoder."""

    stages: tuple[Map, Map]
    """Of the first two stages, at strides 2 and 4 of the image."""
    pyramid: tuple[Map, ...]
    """Of the feature pyramid, at strides 32, 16 and 8."""


class Encoder(nn.Module):
    """Three 5x5 convolution stages with 2x2 pooling to stride 8, residual stages to 32, and a feature pyramid.

    The view has half the image's size, so two of the three stages pool. Every pyramid level (FPN, Lin 2017) has a head
    for its map's Gaussian; pooled means and deviations of the first stages and of all pyramid levels give the style.
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
        self.heads = nn.ModuleList([conv(pyramid, 2 * latent, 1, gain=0.5) for latent in config.map_channels])
        features = 2 * (widths[0] + widths[1] + pyramid * len(config.map_channels))
        self.style_hidden = linear(features, 256)
        self.style_head = linear(256, 2 * config.style_dim, gain=0.5)

    def forward(self, view: Map) -> Posterior:
        """The expert output of every level; ``view`` is (batch, view_channels, height / 2, width / 2)."""
        features = self.features(view)
        statistics = [mean_and_deviation(*moments(x)) for x in (*features.stages, *features.pyramid)]
        return Levels(self.style(torch.cat(statistics, 1)), self.maps(features.pyramid))

    def features(self, view: Map) -> Features:
        """The first two stages and the pyramid, from which all heads read."""
        x2 = F.silu(self.stage1(view))
        x4 = F.silu(self.stage2(F.avg_pool2d(x2, 2)))
        # A space-to-channel shortcut (Chen 2024), the counterpart of the decoder's linear skips.
        blocks = F.pixel_unshuffle(view, 4).contiguous(memory_format=torch.channels_last)
        x8 = self.refine8(self.stage3(F.avg_pool2d(x4, 2)) + self.shortcut(blocks))
        x16 = self.refine16(self.widen16(F.avg_pool2d(F.silu(x8), 2)))
        x32 = self.widen32(F.avg_pool2d(F.silu(x16), 2))

        pyramid: list[Tensor] = []
        for x, lateral in zip((x32, x16, x8), self.laterals, strict=True):
            level = lateral(F.silu(x))
            pyramid.append(level + upsample_nearest(pyramid[-1]) if pyramid else level)
        smoothed = [F.silu(smooth(level)) for smooth, level in zip(self.smooth, pyramid, strict=True)]
        return Features((x2, x4), tuple(smoothed))

    def style(self, statistics: Vector) -> Gaussian:
        """The expert of the style level, from means and deviations of all features over the image."""
        return _bounded(self.style_head(F.silu(self.style_hidden(statistics))))

    def maps(self, pyramid: Sequence[Map]) -> tuple[Gaussian, ...]:
        """The experts of the maps, each from its level of the pyramid (coarse to fine), position by position."""
        return tuple(_bounded(head(x)) for head, x in zip(self.heads, pyramid, strict=True))


def moments(x: Map) -> tuple[Vector, Vector]:
    """Mean and mean square of every channel over the image."""
    return _Moments.apply(x)


def mean_and_deviation(mean: Vector, mean_square: Vector) -> Vector:
    """Means and standard deviations, concatenated, from the output of `moments`."""
    variance = mean_square - mean.square()
    return torch.cat([mean, torch.sqrt(variance.clamp(min=0) + 1e-5)], 1)


class _Moments(torch.autograd.Function):
    """The gradient is one operation in the dtype and layout of the maps; autograd's takes ten, on maps in float32."""

    @staticmethod
    def forward(ctx: Any, x: Map) -> tuple[Vector, Vector]:
        ctx.save_for_backward(x)
        wide = x.float()
        return wide.mean((2, 3)), wide.square().mean((2, 3))

    @staticmethod
    def backward(ctx: Any, *gradients: Vector) -> Map:
        (x,) = ctx.saved_tensors
        of_mean, of_mean_square = (
            (gradient / (x.shape[2] * x.shape[3])).to(x.dtype)[:, :, None, None] for gradient in gradients
        )
        return torch.addcmul(of_mean, of_mean_square, x, value=2)


def _bounded(parameters: Tensor) -> Gaussian:
    mean, raw = parameters.float().chunk(2, 1)
    return Gaussian(mean, LOG_VARIANCE_BOUND * torch.tanh(raw / LOG_VARIANCE_BOUND))
