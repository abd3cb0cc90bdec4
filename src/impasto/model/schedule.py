"""When each level is drawn: coarse levels may lead, so that fine ones are drawn onto what is there already."""

import torch
from jaxtyping import Float
from torch import Tensor

Delays = tuple[float, float, float, float]
"""For each level, coarse to fine, how much later than the first it begins, in units of its own duration."""
TOGETHER: Delays = (0.0, 0.0, 0.0, 0.0)


def level_times(time: Float[Tensor, " batch"], delays: Delays) -> tuple[Float[Tensor, " batch"], ...]:
    """Each level's own time in [0, 1] at a time of the whole flow in [0, 1].

    At one time of the whole, a level is untouched (0), under way, or finished (1): asynchronous denoising with fixed
    offsets (Pan 2025, arXiv 2512.04926, where semantic latents lead textural ones).
    """
    whole = (1 + max(delays)) * time
    return tuple(torch.clamp(whole - delay, 0, 1) for delay in delays)
