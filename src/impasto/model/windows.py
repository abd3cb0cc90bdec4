"""The prior flow over images larger than its training size, and over images that tile: through windows.

The flow knows images of its training size. Larger ones are seen through windows of that size that overlap. The windows'
predictions for a position are averaged, weighted towards the windows that have it near their centre (as MultiDiffusion,
Bar-Tal 2023, does with images). Along axes that tile, windows wrap around the edge.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from impasto.config import Repeat
from impasto.model.decoder import Latents
from impasto.model.levels import MAP_STRIDES, Levels
from impasto.model.prior import Condition, PriorFlow, Velocities

STRIDE = MAP_STRIDES[0]
MAX_WINDOWS_PER_BATCH = 64
OVERLAP = 0.25
"""Least part of a window that the next one sees too: a half would take twice as many windows."""


@dataclass(frozen=True)
class Window:
    """A place in the image, in positions of the coarsest map."""

    top: int
    left: int
    side: int

    def indices(self, stride: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Rows and columns in a map of this stride; those beyond an edge come from the opposite edge."""
        scale = STRIDE // stride
        rows, columns = (
            torch.arange(scale * start, scale * (start + self.side), device=like.device) % length
            for start, length in zip((self.top, self.left), like.shape[2:], strict=True)
        )
        return rows[:, None], columns


class WindowedFlow:
    """A velocity field like the prior's own, for maps of any size at least that of a window."""

    def __init__(self, prior: PriorFlow, repeat: Repeat = Repeat.NONE) -> None:
        self.prior = prior
        self.repeat = repeat
        self.side = prior.resolution // STRIDE

    def __call__(self, latents: Latents, time: Float[Tensor, " batch"], condition: Condition) -> Velocities:
        """The velocities of ``latents`` at ``time``; the style's are the means over all windows."""
        rows, columns = latents.maps[0].shape[2:]
        if (rows, columns) == (self.side, self.side) and self.repeat is Repeat.NONE:
            return self.prior(latents, time, condition)
        windows = list(self._windows(rows, columns))
        sums = Velocities(latents.map(torch.zeros_like), latents.map(torch.zeros_like))
        weight = [z.new_zeros(z.shape[2:]) for z in latents.maps]
        blend = [_blend_window(self.side * STRIDE // stride, latents.style) for stride in MAP_STRIDES]
        at_a_time = max(1, MAX_WINDOWS_PER_BATCH // len(time))
        for start in range(0, len(windows), at_a_time):
            batch = windows[start : start + at_a_time]
            text = condition.text.repeat(len(batch), 1) if condition.text is not None else None
            posterior = Levels.of(
                gaussian.apply(lambda z, level=level, batch=batch: _cut(z, level, batch))
                for level, gaussian in enumerate(condition.posterior)
            )
            cut = Levels.of(_cut(z, level, batch) for level, z in enumerate(latents))
            predicted = self.prior(cut, time.repeat(len(batch)), Condition(posterior, text))
            places = [
                [window.indices(stride, z) for window in batch]
                for stride, z in zip(MAP_STRIDES, latents.maps, strict=True)
            ]
            for total, velocity in zip(sums, predicted, strict=True):
                parts = velocity.map(lambda z: z.unflatten(0, (-1, len(time))))
                total.style.add_(parts.style.sum(0) / len(windows))
                for level, z in enumerate(parts.maps):
                    for place, part in zip(places[level], z, strict=True):
                        total.maps[level][:, :, *place] += blend[level] * part
            for level, window in enumerate(blend):
                for place in places[level]:
                    weight[level][place] += window
        intermediate, final = (
            Levels(total.style, tuple(z / w for z, w in zip(total.maps, weight, strict=True))) for total in sums
        )
        return Velocities(intermediate, final)

    def _windows(self, rows: int, columns: int) -> Iterator[Window]:
        for top in _starts(rows, self.side, self.repeat.along_y):
            for left in _starts(columns, self.side, self.repeat.along_x):
                yield Window(top, left, self.side)


def _cut(z: Tensor, level: int, windows: Sequence[Window]) -> Tensor:
    """The windows' parts of a level, one window's batch after the other; the style is the same in all."""
    if level == 0:
        return z.repeat(len(windows), 1)
    return torch.cat([z[:, :, *window.indices(MAP_STRIDES[level - 1], z)] for window in windows])


def _starts(length: int, side: int, wraps: bool) -> list[int]:
    """Where windows begin along one axis: each overlaps the one before, the last ends where the image does."""
    step = max(1, int(side * (1 - OVERLAP)))
    if wraps:
        return list(range(0, length, step))
    return sorted({*range(0, max(1, length - side + 1), step), max(0, length - side)})


def _blend_window(side: int, like: Tensor) -> Float[Tensor, "side side"]:
    """Weights of a window's positions: a pyramid, highest at the centre, never zero."""
    slope = torch.arange(side, device=like.device, dtype=like.dtype) + 0.5
    slope = torch.minimum(slope, slope.flip(0))
    return slope[:, None] * slope
