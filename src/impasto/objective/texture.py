"""Texture: the distribution of early features over an image, regardless of position."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor

from impasto.model.blocks import Map

NUM_SLICES = 24
"""Directions in the feature space of each map."""


@dataclass(frozen=True)
class Slices:
    """Directions along which features are compared, drawn for each batch, so that no image can fit only a few."""

    directions: tuple[Float[Tensor, "_slice _channel"], ...]

    @classmethod
    def draw(cls, channels: Sequence[int], generator: Generator, device: torch.device) -> "Slices":
        """For maps with these numbers of ``channels``. Drawn on the CPU: the same on any device."""
        drawn = (torch.randn(NUM_SLICES, number, generator=generator) for number in channels)
        return cls(tuple(F.normalize(direction, dim=1).to(device) for direction in drawn))

    def error(self, output: list[Map], target: list[Map], scale: list[Float[Tensor, " _channel"]]) -> Tensor:
        """Distance between the distributions of the output's features and of the target's, averaged over maps, per
        image.

        A sliced Wasserstein distance (Heitz 2021, "A sliced Wasserstein loss for neural texture synthesis"), of
        channels in units of their ``scale``. Means and deviations alone (Huang & Belongie 2017) can also be met by a
        few spikes, which are visible as dots.
        """
        errors = []
        for a, b, directions, unit in zip(output, target, self.directions, scale, strict=True):
            with torch.autocast(a.device.type, enabled=False):  # small differences between sorted numbers
                along = (torch.einsum("sc,bcn->bsn", directions / unit, x.float().flatten(2)) for x in (a, b))
                ours, theirs = (x.sort(2).values for x in along)
                errors.append((ours - theirs).abs().mean((1, 2)))
        return torch.stack(errors).mean(0)
