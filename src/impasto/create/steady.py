"""What is told of the frames of a clip, made steady: where nothing moves, a frame hears what was told before."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from impasto.model.blocks import Map
from impasto.model.decoder import MAP_STRIDES
from impasto.model.encoder import Hierarchy
from impasto.model.fuser import blend

MEMORY = 0.85
"""Share of what was told before, where nothing moves."""
MOTION = 0.03
"""Change of a place, in [0, 1], at which its memory is down to a third."""
CUT = 0.25
"""Mean change of a picture from which it is another scene."""


class Steady:
    """Smooths the fused Gaussians of one frame after the other, place by place, and forgets at a cut."""

    def __init__(self) -> None:
        self._picture: Map | None = None
        self._told: Hierarchy | None = None

    def __call__(self, picture: Map, fused: Hierarchy) -> Hierarchy:
        """What to tell of ``picture``, of which ``fused`` was said: a logarithmic opinion pool with the past."""
        if self._picture is not None and self._told is not None:
            change = (picture - self._picture).abs().mean(1, keepdim=True)
            if float(change.mean()) < CUT:
                style, *maps = (
                    blend(new, old, _memory(change, level))
                    for level, (new, old) in enumerate(zip(fused, self._told, strict=True))
                )
                fused = style, maps[0], maps[1], maps[2]
        self._picture, self._told = picture, fused
        return fused


def _memory(change: Map, level: int) -> Float[Tensor, "..."]:
    """The share of the past at a level: for the style one number a picture, for a map one a position."""
    if level == 0:
        return MEMORY * torch.exp(-change.mean((1, 2, 3)) / MOTION)[:, None]
    stride = MAP_STRIDES[level - 1]
    # The most that moves within reach counts: what moves must not drag its past along.
    moved = F.max_pool2d(F.avg_pool2d(change, 4), stride // 4)
    moved = F.max_pool2d(moved, 3, stride=1, padding=1)
    return MEMORY * torch.exp(-moved / MOTION)
