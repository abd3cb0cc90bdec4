"""Sampling: from a source along a velocity field to latents. Pure functions with one seam, a callback."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from impasto.model.decoder import Latents
from impasto.model.encoder import Posterior
from impasto.model.levels import Levels

StepCallback = Callable[[int, int], None]
TIME_SHIFT = 2.0
"""The first steps, which decide what an image shows, are about this factor shorter than even ones, the last longer."""
MAX_GROWTH = 1.5
"""Largest ratio of a step to the one before at which velocities are extrapolated."""


def draw_noise(seeds: Sequence[int], like: Posterior) -> Latents:
    """Standard normal noise in the shape of ``like``, from one generator per image: it depends on the seed alone."""
    rows = []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        rows.append([torch.randn(g.mean.shape[1:], generator=generator) for g in like])
    device = like.style.mean.device
    return Levels.of(torch.stack(level).to(device) for level in zip(*rows, strict=True))


def step_times(num_steps: int) -> Float[Tensor, " time"]:
    """Times of the steps from 0 to 1: short near the source, long near the latents (Esser 2024, eq. 23)."""
    even = torch.linspace(0, 1, num_steps + 1, dtype=torch.float64)
    return even / (TIME_SHIFT - (TIME_SHIFT - 1) * even)


@torch.no_grad()
def sample(
    field: Callable[[Latents, float], Latents],
    source: Latents,
    times: Float[Tensor, " time"],
    callback: StepCallback | None = None,
) -> Latents:
    """Integrate the ordinary differential equation of ``field`` from ``source`` over ``times``.

    Second-order Adams-Bashforth: one evaluation of ``field`` per step. ``callback`` is called with (steps done, steps)
    and may raise to cancel.
    """
    x = source
    before: Latents | None = None
    for step, time in enumerate(times[:-1].tolist()):
        velocity = field(x, time)
        duration = float(times[step + 1] - times[step])
        earlier = float(times[step] - times[step - 1]) if step else 0.0
        move = velocity
        if before is not None and duration <= MAX_GROWTH * earlier:
            ratio = duration / (2 * earlier)
            move = velocity.map(lambda v, b, ratio=ratio: v + ratio * (v - b), before)
        x = x.map(lambda z, v, duration=duration: z + duration * v, move)
        before = velocity
        if callback is not None:
            callback(step + 1, len(times) - 1)
    return x
