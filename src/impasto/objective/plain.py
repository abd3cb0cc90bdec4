"""Plain twins: what is left of a picture without what makes its style.

Nobody has drawn a photo in a painter's style, so nothing says what redrawing should come to. But a painting can be made
plain, and then the painting itself is what its twin should become in its own style. Told the twin's content, the
decoder must take grain, contrasts and colours from the style, as it must when a photo is redrawn.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from impasto.model.blocks import Map
from impasto.model.views import guided_filter, luma

RADIUS = 4
"""Of the squares that are smoothed, in pixels."""
WEAKEST_LOG10, STRONGEST_LOG10 = -2.5, -1.0
"""What varies by less than the square root of ten to such a power is smoothed away."""
MOST_LOG2_GAMMA = 0.7
"""Colours are raised to a power between one over two to this and two to this."""
MOST_SATURATION = 1.3
"""Colours are between grey and so many times as far from it."""


@dataclass(frozen=True)
class Plainness:
    """What is random about plain twins, one for each picture."""

    epsilon: Float[Tensor, "batch 1 1 1"]
    """Of the guided filter."""
    gamma: Float[Tensor, "batch 3 1 1"]
    """Of every colour channel; white stays white."""
    saturation: Float[Tensor, "batch 1 1 1"]

    @classmethod
    def draw(cls, batch: int, generator: torch.Generator) -> "Plainness":
        """Drawn on the CPU: the same on any device."""
        uniform = torch.rand(batch, 5, 1, 1, generator=generator)
        log_epsilon = WEAKEST_LOG10 + (STRONGEST_LOG10 - WEAKEST_LOG10) * uniform[:, :1]
        gamma = 2 ** (MOST_LOG2_GAMMA * (2 * uniform[:, 1:4] - 1))
        return cls(10**log_epsilon, gamma, MOST_SATURATION * uniform[:, 4:])

    def __getitem__(self, rows: slice) -> "Plainness":
        """That of some pictures."""
        return Plainness(self.epsilon[rows], self.gamma[rows], self.saturation[rows])

    def __call__(self, picture: Map) -> Map:
        """The plain twins of pictures in [0, 1]: smooth but for strong edges, in other colours."""
        epsilon, gamma, saturation = (x.to(picture.device) for x in (self.epsilon, self.gamma, self.saturation))
        smooth = guided_filter(picture, RADIUS, epsilon).clamp(0, 1)
        colour, alpha = smooth[:, :3] ** gamma, smooth[:, 3:]
        grey = luma(colour)
        colour = (grey + saturation * (colour - grey)).clamp(0, 1)
        return torch.cat([colour, alpha], 1).contiguous(memory_format=torch.channels_last)
