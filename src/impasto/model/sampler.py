"""Sampling: from the fused Gaussians along the prior flow to latents. Pure functions with one seam, a callback."""

import dataclasses
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
PUSHED_UNTIL = 0.5
"""Guidance and internal guidance push beyond what was learned up to this time of the flow only: later they make
pictures worse, and guidance costs as much as the flow itself (an interval: Kynkäänniemi 2024, arXiv 2404.07724)."""
SHIFT = 2.0
"""The first steps, in which a picture is decided, are about so many times as short as even ones, the last as long."""
MOST_GROWTH = 1.5
"""Of a step against the one before, up to which velocities are extrapolated."""


@runtime_checkable
class VelocityField(Protocol):
    """A `PriorFlow`, or anything that flows."""

    delays: Delays
    look_dim: int

    def __call__(
        self, latents: Latents, time: Float[Tensor, " batch"], fused: Hierarchy, text: Text | None = None
    ) -> tuple[Latents, Latents]:
        """A draft of the latents' velocity, and the velocity, each level's over its own time."""
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


def step_times(steps: int) -> Float[Tensor, " time"]:
    """Where the steps begin and end, from 0 to 1: short at the source, long at the latents (Esser 2024, eq. 23)."""
    even = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    return even / (SHIFT - (SHIFT - 1) * even)


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

    Second-order Adams-Bashforth over the steps of `step_times`: one evaluation a step. The temperature scales the
    source's deviation; a guidance other than 1 extrapolates the maps from the flow without a word on style and text (Ho
    & Salimans 2022), or with ``away`` for the text; an internal guidance other than 1 from the flow's own draft (see
    `impasto.model.prior.PriorFlow`), both while `PUSHED_UNTIL` says. The seed is that of ``noise`` already, which comes
    from `draw_noise`. ``on_step`` is called with (steps done, steps) and may raise to cancel.
    """
    style_dim = fused[0].mean.shape[1]
    fused = with_look(fused, prior.look_dim)
    x = [g.sample(n, settings.temperature) for g, n in zip(fused, noise, strict=True)]
    steps = settings.steps
    as_learned = dataclasses.replace(settings, guidance=1.0, internal_guidance=1.0)
    before: list[Tensor] | None = None
    whole = step_times(steps)
    grid = level_times(whole, prior.delays)
    for step, time in enumerate(whole[:-1].tolist()):
        pushed = settings if time < PUSHED_UNTIL else as_learned
        velocity = _velocity(prior, x, time, fused, pushed, text, away)
        for level, times in enumerate(grid):
            duration = float(times[step + 1] - times[step])
            earlier = float(times[step] - times[step - 1]) if step else 0.0
            move = velocity[level]
            # A level that has only begun to move says nothing yet of where it turns.
            if before is not None and 0 < duration <= MOST_GROWTH * earlier:
                move = move + duration / (2 * earlier) * (move - before[level])
            x[level] = x[level] + duration * move
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
    latents, batch = (x[0], x[1], x[2], x[3]), len(x[0])
    guidance, internal = settings.guidance, settings.internal_guidance
    if guidance == 1:
        draft, given = prior(latents, x[0].new_full((batch,), time), fused, text)
        return [v + (internal - 1) * (v - d) for d, v in zip(draft, given, strict=True)]
    free = unconditional(fused)
    told = tuple(
        Gaussian(torch.cat([a.mean, b.mean]), torch.cat([a.log_variance, b.log_variance]))
        for a, b in zip(fused, free, strict=True)
    )
    texts = None
    if text is not None:
        texts = torch.cat([text, torch.zeros_like(text) if away is None else away])
    both = tuple(torch.cat([z, z]) for z in x)
    drafts, velocities = prior(both, x[0].new_full((2 * batch,), time), told, texts)  # pyrefly: ignore
    found = []
    for level, (draft, velocity) in enumerate(zip(drafts, velocities, strict=True)):
        given, without = velocity.chunk(2)
        # Maps only: a style beyond the one that was told is a style that no picture has.
        strength = guidance - 1 if level else 0.0
        found.append(given + (internal - 1) * (given - draft[:batch]) + strength * (given - without))
    return found
