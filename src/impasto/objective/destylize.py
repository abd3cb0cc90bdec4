"""Destylised copies: images without what makes their style.

No photo exists in a painter's style, so stylization has no target. But a painting can be destylised, and then the
painting itself is the target for its copy in its own style. Given the copy's content, the decoder must take grain,
contrast and colours from the style, as it must when it stylizes a photo.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from impasto.model.blocks import Map
from impasto.model.views import guided_filter, luma

RADIUS = 4
"""Of the guided filter's windows, in pixels."""
MIN_LOG10_EPSILON, MAX_LOG10_EPSILON = -2.5, -1.0
"""Variation below the square root of epsilon is smoothed away."""
MAX_LOG2_GAMMA = 0.7
"""Colour channels are raised to a power between two to minus this and two to this."""
MAX_SATURATION = 1.3
"""Colours are scaled about grey by a factor from 0 to this."""


@dataclass(frozen=True)
class Destylization:
    """The random part of destylising, one row per image."""

    epsilon: Float[Tensor, "batch 1 1 1"]
    """Of the guided filter."""
    gamma: Float[Tensor, "batch 3 1 1"]
    """Of each colour channel; white stays white."""
    saturation: Float[Tensor, "batch 1 1 1"]

    @classmethod
    def draw(cls, batch: int, generator: torch.Generator) -> "Destylization":
        """Drawn on the CPU: the same on any device."""
        uniform = torch.rand(batch, 5, 1, 1, generator=generator)
        log_epsilon = MIN_LOG10_EPSILON + (MAX_LOG10_EPSILON - MIN_LOG10_EPSILON) * uniform[:, :1]
        gamma = 2 ** (MAX_LOG2_GAMMA * (2 * uniform[:, 1:4] - 1))
        return cls(10**log_epsilon, gamma, MAX_SATURATION * uniform[:, 4:])

    def __getitem__(self, rows: slice) -> "Destylization":
        """Those of some images."""
        return Destylization(self.epsilon[rows], self.gamma[rows], self.saturation[rows])

    def __call__(self, image: Map) -> Map:
        """Destylised copies of images in [0, 1]: smooth except at strong edges, in other colours."""
        epsilon, gamma, saturation = (x.to(image.device) for x in (self.epsilon, self.gamma, self.saturation))
        smooth = guided_filter(image, RADIUS, epsilon).clamp(0, 1)
        colour, alpha = smooth[:, :3] ** gamma, smooth[:, 3:]
        grey = luma(colour)
        colour = (grey + saturation * (colour - grey)).clamp(0, 1)
        return torch.cat([colour, alpha], 1).contiguous(memory_format=torch.channels_last)
