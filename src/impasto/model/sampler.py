"""Sampling: from the fused Gaussians along the prior flow to latents. Pure functions with one seam, a callback."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from impasto.model.decoder import Latents
from impasto.model.encoder import Hierarchy
from impasto.model.gaussian import Gaussian

StepCallback = Callable[[int, int], None]
VelocityField = Callable[[Latents, Tensor, Hierarchy], Latents]
"""(latents, time, fused) to the latents' velocity: a `PriorFlow`, or anything that flows."""


def draw_noise(seeds: Sequence[int], like: Hierarchy) -> Latents:
    """Standard normal noise in the shape of ``like``, one generator a picture: its noise depends on its seed alone."""
    rows = []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        rows.append([torch.randn(g.mean.shape[1:], generator=generator) for g in like])
    style, coarse, middle, fine = (torch.stack(level).to(like[0].mean.device) for level in zip(*rows, strict=True))
    return style, coarse, middle, fine


def unconditional(fused: Hierarchy) -> Hierarchy:
    """The same hierarchy with nothing said of the style: what classifier-free guidance pushes away from."""
    return Gaussian.standard(fused[0].mean), *fused[1:]


@torch.no_grad()
def sample(
    prior: VelocityField,
    fused: Hierarchy,
    noise: Latents,
    *,
    steps: int = 16,
    temperature: float = 1.0,
    guidance: float = 1.0,
    on_step: StepCallback | None = None,
) -> Latents:
    """Latents of real pictures, from a sample of ``fused`` along the flow's ordinary differential equation.

    Second-order Adams-Bashforth over ``steps`` equal steps: one evaluation a step. ``temperature`` scales the source's
    deviation; ``guidance`` other than 1 extrapolates from the flow without the style's word (Ho & Salimans 2022).
    ``on_step`` is called with (steps done, steps) and may raise to cancel.
    """
    x = [g.sample(n, temperature) for g, n in zip(fused, noise, strict=True)]
    before: list[Tensor] | None = None
    for step in range(steps):
        velocity = _velocity(prior, x, step / steps, fused, guidance)
        earlier = before or velocity
        direction = [1.5 * v - 0.5 * e for v, e in zip(velocity, earlier, strict=True)]
        x = [z + d / steps for z, d in zip(x, direction, strict=True)]
        before = velocity
        if on_step is not None:
            on_step(step + 1, steps)
    return x[0], x[1], x[2], x[3]


def _velocity(prior: VelocityField, x: list[Tensor], time: float, fused: Hierarchy, guidance: float) -> list[Tensor]:
    batch = len(x[0])
    if guidance == 1:
        return list(prior((x[0], x[1], x[2], x[3]), x[0].new_full((batch,), time), fused))
    both = [torch.cat([z, z]) for z in x]
    free = unconditional(fused)
    told = tuple(
        Gaussian(torch.cat([a.mean, b.mean]), torch.cat([a.log_variance, b.log_variance]))
        for a, b in zip(fused, free, strict=True)
    )
    velocity = prior((both[0], both[1], both[2], both[3]), x[0].new_full((2 * batch,), time), told)  # pyrefly: ignore
    pairs = [v.chunk(2) for v in velocity]
    return [without + guidance * (given - without) for given, without in pairs]
