"""Reconstruction: a robust pixel loss at several scales."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from impasto.model.blocks import Map

SCALE_WEIGHTS = (1.0, 0.5, 0.5)
"""Weights of the loss at full, half and quarter resolution."""
SOFTNESS = 0.1
"""The loss is linear in differences above this size and quadratic in smaller ones."""


def charbonnier(difference: Map) -> Float[Tensor, " batch"]:
    """sqrt(d^2 + softness^2) - softness (Charbonnier 1994), averaged over channels and pixels; values in [0, 1]."""
    return (torch.sqrt(difference.square() + SOFTNESS**2) - SOFTNESS).flatten(1).mean(1)


def reconstruction_loss(output: Map, image: Map) -> Float[Tensor, " batch"]:
    """Charbonnier losses of the difference at full, half and quarter resolution, weighted and summed."""
    difference = output - image
    total = SCALE_WEIGHTS[0] * charbonnier(difference)
    for weight in SCALE_WEIGHTS[1:]:
        difference = F.avg_pool2d(difference, 2)
        total = total + weight * charbonnier(difference)
    return total
