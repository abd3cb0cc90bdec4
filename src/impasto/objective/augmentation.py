"""Random affine augmentation of what frozen networks see in a loss.

A network that halves its maps sees some lattices of pixels better than others, and a decoder exploits that: it outputs
dots and grids that please this network alone. Under random shifts, mirroring and scaling, only structure that is
visible from anywhere lowers the loss ("transformation robustness": Olah 2017, "Feature visualization").
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor

from impasto.model.blocks import Map

MIN_SCALE, MAX_SCALE = 0.75, 1.05
"""Part of an image's height and width that is visible."""
MAX_SHIFT = 1 / 16
"""How far the visible part may leave the image, which is mirrored beyond its edges, in heights and widths of it."""


@dataclass(frozen=True)
class AffineAugmentation:
    """One affine transform per image; reconstructions and real images must share it."""

    transform: Float[Tensor, "batch 2 3"]
    """From output to input coordinates, both from -1 to 1."""

    @classmethod
    def draw(cls, batch: int, generator: Generator, device: torch.device) -> "AffineAugmentation":
        """Drawn on the CPU: the same on any device."""
        uniform = torch.rand(batch, 4, generator=generator)
        scale = MIN_SCALE + (MAX_SCALE - MIN_SCALE) * uniform[:, 0]
        mirror = torch.where(uniform[:, 1] < 0.5, -1.0, 1.0)
        reach = (1 - scale).abs() + 2 * MAX_SHIFT
        shift = (2 * uniform[:, 2:] - 1) * reach[:, None]
        columns = torch.stack([scale * mirror, torch.zeros_like(scale), shift[:, 0]], 1)
        rows = torch.stack([torch.zeros_like(scale), scale, shift[:, 1]], 1)
        return cls(torch.stack([columns, rows], 1).to(device))

    def __getitem__(self, rows: slice) -> "AffineAugmentation":
        """The transforms of some images."""
        return AffineAugmentation(self.transform[rows])

    def __call__(self, image: Map) -> Map:
        """The transformed images, at their own size; differentiable."""
        image = image.float()
        grid = F.affine_grid(self.transform, list(image.shape), align_corners=False)
        transformed = F.grid_sample(image, grid, padding_mode="reflection", align_corners=False)
        return transformed.contiguous(memory_format=torch.channels_last)
