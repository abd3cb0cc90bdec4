"""The prior flow over pictures larger than it was trained on, and over pictures that repeat: through windows.

The flow knows pictures of its training size. Larger ones are seen through windows of that size that overlap, and what
the windows say of a place is averaged, most of it from those that have it in their middle (as MultiDiffusion, Bar-Tal
2023, does with images). Where a picture repeats, windows reach over its edge.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from impasto.config import Repeat
from impasto.model.decoder import MAP_STRIDES, Latents
from impasto.model.encoder import Hierarchy
from impasto.model.gaussian import Gaussian
from impasto.model.prior import PriorFlow, Text

STRIDE = MAP_STRIDES[0]
WINDOWS_AT_A_TIME = 64
OVERLAP = 0.25
"""Part of a window that the next one sees too, at least: half would take twice as many windows."""


@dataclass(frozen=True)
class Window:
    """A place of the picture, in positions of the coarsest map."""

    top: int
    left: int

    def indices(self, side: int, stride: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Rows and columns of a map of this stride, those beyond the edge from the opposite edge."""
        scale = STRIDE // stride
        rows, columns = (
            torch.arange(scale * start, scale * (start + side), device=like.device) % length
            for start, length in zip((self.top, self.left), like.shape[2:], strict=True)
        )
        return rows[:, None], columns


class WindowedFlow:
    """A velocity field like the prior's own, for maps of any size at least that of a window."""

    def __init__(self, prior: PriorFlow, repeat: Repeat = Repeat.NONE) -> None:
        self.prior = prior
        self.repeat = repeat
        self.delays, self.look_dim = prior.delays, prior.look_dim
        self.side = prior.resolution // STRIDE

    def __call__(
        self, latents: Latents, time: Float[Tensor, " batch"], fused: Hierarchy, text: Text | None = None
    ) -> tuple[Latents, Latents]:
        """Draft and velocity of ``latents`` at ``time``, told the rest; the style's are the means of all windows'."""
        rows, columns = latents[1].shape[2:]
        if (rows, columns) == (self.side, self.side) and self.repeat is Repeat.NONE:
            return self.prior(latents, time, fused, text)
        windows = list(self._windows(rows, columns))
        draft, velocity = ([torch.zeros_like(z) for z in latents] for _ in range(2))
        total = [z.new_zeros(z.shape[2:]) for z in latents[1:]]
        hills = [_hill(self.side * STRIDE // stride, latents[0]) for stride in MAP_STRIDES]
        at_a_time = max(1, WINDOWS_AT_A_TIME // len(time))
        for start in range(0, len(windows), at_a_time):
            some = windows[start : start + at_a_time]
            texts = text.repeat(len(some), 1) if text is not None else None
            cut, told = self._cut(latents, some), self._told(fused, some)
            places = [
                [window.indices(self.side, stride, z) for window in some]
                for stride, z in zip(MAP_STRIDES, latents[1:], strict=True)
            ]
            for whole, found in zip(
                (draft, velocity), self.prior(cut, time.repeat(len(some)), told, texts), strict=True
            ):
                style, *maps = (z.unflatten(0, (len(some), -1)) for z in found)
                whole[0] += style.sum(0) / len(windows)
                for level, parts in enumerate(maps):
                    for at, part in zip(places[level], parts, strict=True):
                        whole[1 + level][:, :, *at] += hills[level] * part
            for level, hill in enumerate(hills):
                for at in places[level]:
                    total[level][at] += hill
        return _averaged(draft, total), _averaged(velocity, total)

    def _windows(self, rows: int, columns: int) -> Iterator[Window]:
        for top in _starts(rows, self.side, self.repeat.along_y):
            for left in _starts(columns, self.side, self.repeat.along_x):
                yield Window(top, left)

    def _cut(self, latents: Latents, windows: list[Window]) -> Latents:
        coarse, middle, fine = (
            torch.cat([z[:, :, *window.indices(self.side, stride, z)] for window in windows])
            for z, stride in zip(latents[1:], MAP_STRIDES, strict=True)
        )
        return latents[0].repeat(len(windows), 1), coarse, middle, fine

    def _told(self, fused: Hierarchy, windows: list[Window]) -> Hierarchy:
        means = self._cut((fused[0].mean, fused[1].mean, fused[2].mean, fused[3].mean), windows)
        variances = self._cut(
            (fused[0].log_variance, fused[1].log_variance, fused[2].log_variance, fused[3].log_variance), windows
        )
        style, coarse, middle, fine = (Gaussian(m, v) for m, v in zip(means, variances, strict=True))
        return style, coarse, middle, fine


def _averaged(whole: list[Tensor], total: list[Tensor]) -> Latents:
    """What all windows say together, where each place of the maps was said with a weight of ``total`` in all."""
    coarse, middle, fine = (z / weight for z, weight in zip(whole[1:], total, strict=True))
    return whole[0], coarse, middle, fine


def _starts(length: int, side: int, repeats: bool) -> list[int]:
    """Where windows begin along one axis: each overlaps the one before, the last ends where the picture does."""
    step = max(1, int(side * (1 - OVERLAP)))
    if repeats:
        return list(range(0, length, step))
    return sorted({*range(0, max(1, length - side + 1), step), max(0, length - side)})


def _hill(side: int, like: Tensor) -> Float[Tensor, "side side"]:
    """Weights of a window's positions: highest in the middle, never zero."""
    slope = torch.arange(side, device=like.device, dtype=like.dtype) + 0.5
    slope = torch.minimum(slope, slope.flip(0))
    return slope[:, None] * slope
