"""Glimpses: what frozen networks are shown of pictures when a loss asks them, never twice from the same place.

A network that halves its maps sees some lattices of pixels better than others, and a decoder finds out: it stamps dots
and grids that please this network and nobody else. Through glimpses, moved, mirrored, nearer or further at random, only
what can be seen from anywhere pleases ("transformation robustness": Olah 2017, "Feature visualization").
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor

from impasto.model.blocks import Map

NEAREST, FURTHEST = 0.75, 1.05
"""How much of a picture's height and width is in sight."""
MOST_SHIFT = 1 / 16
"""How far the sight may leave the picture, which is mirrored beyond its edges, in heights and widths of it."""


@dataclass(frozen=True)
class Glimpse:
    """One place to look from for each picture; painted and real ones must be looked at from the same."""

    transform: Float[Tensor, "batch 2 3"]
    """From places in sight to places in the picture, both from -1 to 1."""

    @classmethod
    def draw(cls, batch: int, generator: Generator, device: torch.device) -> "Glimpse":
        """Drawn on the CPU: the same on any device."""
        uniform = torch.rand(batch, 4, generator=generator)
        scale = NEAREST + (FURTHEST - NEAREST) * uniform[:, 0]
        mirror = torch.where(uniform[:, 1] < 0.5, -1.0, 1.0)
        most = (1 - scale).abs() + 2 * MOST_SHIFT
        shift = (2 * uniform[:, 2:] - 1) * most[:, None]
        columns = torch.stack([scale * mirror, torch.zeros_like(scale), shift[:, 0]], 1)
        rows = torch.stack([torch.zeros_like(scale), scale, shift[:, 1]], 1)
        return cls(torch.stack([columns, rows], 1).to(device))

    def __getitem__(self, rows: slice) -> "Glimpse":
        """Those of some pictures."""
        return Glimpse(self.transform[rows])

    def __call__(self, picture: Map) -> Map:
        """What is seen of the pictures, in their own size; gradients flow through."""
        picture = picture.float()
        places = F.affine_grid(self.transform, list(picture.shape), align_corners=False)
        seen = F.grid_sample(picture, places, padding_mode="reflection", align_corners=False)
        return seen.contiguous(memory_format=torch.channels_last)
