"""A projected discriminator (Sauer 2021) on frozen features, and differentiable augmentation (Zhao 2020)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from impasto.model.blocks import Map, conv, upsample_nearest

WIDTH = 64


class ProjectedDiscriminator(nn.Module):
    """Small heads that tell real from painted on frozen feature maps of so many ``channels``, fine to coarse.

    The maps are first mixed over channels and from coarse to fine by random convolutions that never train, so that
    the heads cannot settle on a few easy features.
    """

    def __init__(self, channels: Sequence[int], seed: int = 0) -> None:
        super().__init__()
        state = torch.random.get_rng_state()
        torch.manual_seed(seed)  # the random projections belong to the run, not to whatever was drawn before
        self.mix_channels = nn.ModuleList([conv(n, WIDTH, 1, gain=1.0) for n in channels])
        self.mix_scales = nn.ModuleList([conv(WIDTH, WIDTH, 3, gain=1.0) for _ in channels])
        for module in (*self.mix_channels, *self.mix_scales):
            module.requires_grad_(False)
        self.heads = nn.ModuleList([_head() for _ in channels])
        torch.random.set_rng_state(state)

    def forward(self, features: list[Map]) -> list[Float[Tensor, " batch"]]:
        """For each map, finest first, how real each picture looks: a number without bounds."""
        logits, above = [], None
        for index in reversed(range(len(features))):
            mixed = self.mix_channels[index](features[index])
            if above is not None:
                mixed = mixed + upsample_nearest(above)[:, :, : mixed.shape[2], : mixed.shape[3]]
            above = self.mix_scales[index](mixed)
            logits.append(self.heads[index](above).mean((1, 2, 3)))
        return logits[::-1]


def _head() -> nn.Sequential:
    first, last = spectral_norm(conv(WIDTH, WIDTH, 3)), spectral_norm(conv(WIDTH, 1, 3))
    return nn.Sequential(first, nn.LeakyReLU(0.2), last)


def discriminator_loss(real: list[Tensor], painted: list[Tensor]) -> Float[Tensor, ""]:
    """Hinge loss (Lim & Ye 2017), averaged over maps: real above 1, painted below -1."""
    terms = [F.relu(1 - r).mean() + F.relu(1 + p).mean() for r, p in zip(real, painted, strict=True)]
    return torch.stack(terms).mean()


def painter_loss(painted: list[Tensor]) -> Float[Tensor, ""]:
    """What the painter minimises: minus how real its pictures look."""
    return -torch.stack([p.mean() for p in painted]).mean()


@dataclass(frozen=True)
class Augmentation:
    """One random change per picture of colour, place and a hole; the same numbers may serve several batches."""

    brightness: Float[Tensor, " batch"]
    contrast: Float[Tensor, " batch"]
    shift: Float[Tensor, "batch 2"]
    hole: Float[Tensor, "batch 2"]

    @classmethod
    def draw(cls, batch: int, generator: Generator, device: torch.device) -> "Augmentation":
        """Draw on the CPU, so that the numbers are the same on any device."""
        uniform = torch.rand(6, batch, generator=generator).to(device)
        shift = (uniform[2:4].T - 0.5) / 4
        return cls(uniform[0] - 0.5, 0.5 + uniform[1], shift, uniform[4:6].T)

    def __getitem__(self, rows: slice) -> "Augmentation":
        """The changes of some pictures."""
        return Augmentation(self.brightness[rows], self.contrast[rows], self.shift[rows], self.hole[rows])

    def __call__(self, picture: Map) -> Map:
        """The changed pictures; gradients flow through."""
        batch, _, height, width = picture.shape
        picture = picture + 0.4 * self.brightness[:, None, None, None]
        mean = picture.mean((1, 2, 3), keepdim=True)
        picture = (picture - mean) * self.contrast[:, None, None, None] + mean
        rows = torch.arange(height, device=picture.device) + (self.shift[:, :1] * height).round().long()
        columns = torch.arange(width, device=picture.device) + (self.shift[:, 1:] * width).round().long()
        inside = ((rows >= 0) & (rows < height))[:, None, :, None] & ((columns >= 0) & (columns < width))[:, None, None]
        which = torch.arange(batch, device=picture.device)[:, None, None]
        moved = picture[which, :, rows.clamp(0, height - 1)[:, :, None], columns.clamp(0, width - 1)[:, None]]
        picture = torch.where(inside, moved.permute(0, 3, 1, 2), 1.0)
        y = torch.arange(height, device=picture.device) / height
        x = torch.arange(width, device=picture.device) / width
        hole_y = (y - self.hole[:, :1]).abs() < 0.15
        hole_x = (x - self.hole[:, 1:]).abs() < 0.15
        return torch.where((hole_y[:, None, :, None] & hole_x[:, None, None]), 0.5, picture)
