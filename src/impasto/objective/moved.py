"""The same painting wherever a picture lies on the squares of the code.

A decoder that upsamples knows where in a square it is, and weaves that into flat grounds. Painted again from a part of
the picture, whose pixels lie elsewhere in their squares, each place must come out as before (equivariance to shifts:
Karras 2021, "Alias-free generative adversarial networks", asks it of the architecture).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from impasto.model.blocks import Map
from impasto.model.decoder import MAP_STRIDES

SHARE = 0.75
"""Side of the part against that of the picture, or a little less."""
MARGIN = 12
"""Pixels along the edges of the part inside the picture that are not compared: around them less is seen than there."""
AT_EDGES = 0.5
"""How often the part reaches to an edge of the picture, of either two, where it would else never be compared."""


@dataclass(frozen=True)
class Moved:
    """Which part of all pictures of a batch is painted again, in pixels."""

    top: int
    left: int
    side: int

    @classmethod
    def draw(cls, resolution: int, generator: torch.Generator) -> "Moved | None":
        """None where pictures of ``resolution`` have no part that could be compared. Drawn on the CPU."""
        stride = MAP_STRIDES[0]
        side = int(SHARE * resolution) // stride * stride
        most = resolution - side
        uniform = ((torch.rand(2, generator=generator) - 0.5) / (1 - AT_EDGES) + 0.5).clamp(0, 1)
        top, left = (uniform * most).round().int().tolist()
        return cls(top, left, side) if side > 2 * MARGIN else None

    def part(self, picture: Map) -> Map:
        """That part of pictures."""
        rows, columns = slice(self.top, self.top + self.side), slice(self.left, self.left + self.side)
        return picture[:, :, rows, columns].contiguous(memory_format=torch.channels_last)

    def error(self, painted: Map, again: Map) -> Float[Tensor, " batch"]:
        """Mean absolute difference of pictures and their parts ``again``, in [0, 1], but for the part's margins."""
        rows, columns = self._compared(self.top, painted.shape[-2]), self._compared(self.left, painted.shape[-1])
        return (self.part(painted) - again)[:, :, rows, columns].abs().mean((1, 2, 3))

    def _compared(self, start: int, whole: int) -> slice:
        """All but the margins inside a picture that is so long."""
        is_last = start + self.side == whole
        return slice(MARGIN if start else 0, self.side if is_last else self.side - MARGIN)
