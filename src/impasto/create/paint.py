"""From fused Gaussians to pictures: the one call that every job of Impasto ends in."""

from collections.abc import Sequence

import torch

from impasto.config import Repeat
from impasto.model import tiles
from impasto.model.blocks import Map
from impasto.model.encoder import Hierarchy
from impasto.model.impasto import Impasto
from impasto.model.sampler import StepCallback, draw_noise, sample
from impasto.model.windows import WindowedFlow


@torch.no_grad()
def paint(
    model: Impasto,
    fused: Hierarchy,
    seeds: Sequence[int],
    *,
    steps: int = 16,
    temperature: float = 1.0,
    guidance: float = 1.0,
    repeat: Repeat = Repeat.NONE,
    on_step: StepCallback | None = None,
) -> Map:
    """Pictures in [0, 1] from what was told: along the prior flow in ``steps``, then through the decoder.

    One seed for each picture decides its noise. Maps may have any size from that of training up; with ``repeat``,
    copies of a picture meet without a seam. See `impasto.model.sampler.sample` for the other settings.
    """
    latents = sample(
        WindowedFlow(model.prior, repeat),
        fused,
        draw_noise(seeds, fused),
        steps=steps,
        temperature=temperature,
        guidance=guidance,
        on_step=on_step,
    )
    return tiles.decode(model.autoencoder, latents, repeat)
