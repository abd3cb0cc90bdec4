"""Reconstruction: a robust pixel loss at several scales."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from impasto.model.blocks import Map

SCALE_WEIGHTS = (1.0, 0.5, 0.5)
"""Weights of the loss at full, half and quarter resolution."""


def reconstruction_loss(painted: Map, picture: Map, softness: float = 0.1) -> Float[Tensor, " batch"]:
    """Charbonnier loss sqrt(d^2 + softness^2) - softness (Charbonnier 1994), averaged over pixels, summed over scales.

    Nearly the absolute error, but smooth where the error is below ``softness``; values in [0, 1].
    """
    total = painted.new_zeros(len(painted))
    difference = painted - picture
    for weight in SCALE_WEIGHTS:
        robust = torch.sqrt(difference.square() + softness**2) - softness
        total = total + weight * robust.flatten(1).mean(1)
        difference = F.avg_pool2d(difference, 2)
    return total
