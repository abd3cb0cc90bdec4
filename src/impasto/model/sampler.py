"""Sampling: from the fused Gaussians along the prior flow to latents. Pure functions with one seam, a callback."""

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from impasto.config import Sampling
from impasto.model.decoder import Latents
from impasto.model.encoder import Hierarchy
from impasto.model.gaussian import Gaussian
from impasto.model.prior import Text
from impasto.model.schedule import Delays, level_times

StepCallback = Callable[[int, int], None]


@runtime_checkable
class VelocityField(Protocol):
    """A `PriorFlow`, or anything that flows."""

    delays: Delays
    look_dim: int

    def __call__(
        self,
        latents: Latents,
        time: Float[Tensor, " batch"],
        fused: Hierarchy,
        clarity: float = 1.0,
        text: Text | None = None,
    ) -> Latents:
        """The latents' velocity, each level's over its own time."""
        ...


def draw_noise(seeds: Sequence[int], like: Hierarchy, look_dim: int = 0) -> Latents:
    """Standard normal noise in the shape of ``like``, one generator a picture: its noise depends on its seed alone.

    The style is wider by ``look_dim``.
    """
    rows = []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        style, *maps = [torch.randn(g.mean.shape[1:], generator=generator) for g in like]
        rows.append([torch.cat([style, torch.randn(look_dim, generator=generator)]), *maps])
    style, coarse, middle, fine = (torch.stack(level).to(like[0].mean.device) for level in zip(*rows, strict=True))
    return style, coarse, middle, fine


def with_look(fused: Hierarchy, look_dim: int) -> Hierarchy:
    """The same hierarchy, its style wider by a look of which nothing is told."""
    style = fused[0]
    silent = style.mean.new_zeros(len(style.mean), look_dim)
    return Gaussian(torch.cat([style.mean, silent], 1), torch.cat([style.log_variance, silent], 1)), *fused[1:]


def unconditional(fused: Hierarchy) -> Hierarchy:
    """The same hierarchy with nothing said of the style: what classifier-free guidance pushes away from."""
    return Gaussian.standard(fused[0].mean), *fused[1:]


@torch.no_grad()
def sample(
    prior: VelocityField,
    fused: Hierarchy,
    noise: Latents,
    settings: Sampling,
    on_step: StepCallback | None = None,
    text: Text | None = None,
    away: Text | None = None,
) -> Latents:
    """Latents of real pictures, from a sample of ``fused`` along the flow's ordinary differential equation.

    Second-order Adams-Bashforth over equal steps of the whole: one evaluation a step. The temperature scales the
    source's deviation; a guidance other than 1 extrapolates the maps from the flow without a word on style and text (Ho
    & Salimans 2022), or with ``away`` for the text; a clarity other than 1 from the flow's own draft (see
    `impasto.model.prior.PriorFlow`). The seed is that of ``noise`` already, which comes from `draw_noise`. ``on_step``
    is called with (steps done, steps) and may raise to cancel.
    """
    style_dim = fused[0].mean.shape[1]
    fused = with_look(fused, prior.look_dim)
    x = [g.sample(n, settings.temperature) for g, n in zip(fused, noise, strict=True)]
    steps = settings.steps
    before: list[Tensor] | None = None
    grid = level_times(torch.linspace(0, 1, steps + 1), prior.delays)
    for step in range(steps):
        velocity = _velocity(prior, x, step / steps, fused, settings, text, away)
        for level, times in enumerate(grid):
            duration = float(times[step + 1] - times[step])
            # Extrapolated from the step before, in which the level must have moved as long.
            is_under_way = before is not None and float(times[step] - times[step - 1]) > 0.99 * duration > 0
            earlier = before[level] if before is not None and is_under_way else velocity[level]
            x[level] = x[level] + duration * (1.5 * velocity[level] - 0.5 * earlier)
        before = velocity
        if on_step is not None:
            on_step(step + 1, steps)
    return x[0][:, :style_dim], x[1], x[2], x[3]


def _velocity(
    prior: VelocityField,
    x: list[Tensor],
    time: float,
    fused: Hierarchy,
    settings: Sampling,
    text: Text | None,
    away: Text | None,
) -> list[Tensor]:
    batch = len(x[0])
    if settings.guidance == 1:
        return list(prior((x[0], x[1], x[2], x[3]), x[0].new_full((batch,), time), fused, settings.clarity, text))
    both = [torch.cat([z, z]) for z in x]
    free = unconditional(fused)
    told = tuple(
        Gaussian(torch.cat([a.mean, b.mean]), torch.cat([a.log_variance, b.log_variance]))
        for a, b in zip(fused, free, strict=True)
    )
    texts = None
    if text is not None:
        texts = torch.cat([text, torch.zeros_like(text) if away is None else away])
    times = x[0].new_full((2 * batch,), time)
    velocity = prior((both[0], both[1], both[2], both[3]), times, told, settings.clarity, texts)  # pyrefly: ignore
    style, *maps = [v.chunk(2) for v in velocity]
    # Maps only: a style beyond the one that was told is a style that no picture has.
    return [style[0], *(without + settings.guidance * (given - without) for given, without in maps)]
