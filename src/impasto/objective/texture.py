"""Texture: how often early features are seen in a picture, wherever they are."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor

from impasto.model.blocks import Map

NUM_SLICES = 24
"""Directions of the space of features, for each map."""


@dataclass(frozen=True)
class Slices:
    """Directions along which features are compared, drawn anew for each batch: no picture can please only a few."""

    directions: tuple[Float[Tensor, "_slice _channel"], ...]

    @classmethod
    def draw(cls, channels: Sequence[int], generator: Generator, device: torch.device) -> "Slices":
        """For maps of so many channels. Drawn on the CPU: the same on any device."""
        drawn = (torch.randn(NUM_SLICES, number, generator=generator) for number in channels)
        return cls(tuple(F.normalize(direction, dim=1).to(device) for direction in drawn))

    def error(self, painted: list[Map], wanted: list[Map], scale: list[Float[Tensor, " _channel"]]) -> Tensor:
        """How far features must be moved to be distributed as the ``wanted`` ones, averaged over maps, per picture.

        A sliced Wasserstein distance (Heitz 2021, "A sliced Wasserstein loss for neural texture synthesis"), of
        channels in units of their ``scale``. Means and deviations alone (Huang & Belongie 2017) are also met by a few
        spikes, which a picture shows as dots.
        """
        errors = []
        for a, b, directions, unit in zip(painted, wanted, self.directions, scale, strict=True):
            with torch.autocast(a.device.type, enabled=False):  # small differences between sorted numbers
                along = (torch.einsum("sc,bcn->bsn", directions / unit, x.float().flatten(2)) for x in (a, b))
                ours, theirs = (x.sort(2).values for x in along)
                errors.append((ours - theirs).abs().mean((1, 2)))
        return torch.stack(errors).mean(0)
