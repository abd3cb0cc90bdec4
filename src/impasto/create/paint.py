"""From fused Gaussians to pictures: the one call that every job of Impasto ends in."""

from collections.abc import Sequence

import torch

from impasto.config import Repeat, Sampling
from impasto.model import tiles
from impasto.model.autoencoder import means
from impasto.model.blocks import Map
from impasto.model.encoder import Hierarchy
from impasto.model.impasto import Impasto
from impasto.model.prior import Text
from impasto.model.sampler import StepCallback, draw_noise, sample
from impasto.model.windows import WindowedFlow


@torch.no_grad()
def paint_told(model: Impasto, fused: Hierarchy, repeat: Repeat = Repeat.NONE) -> Map:
    """Pictures in [0, 1] from the means of what was told, through the decoder alone; see `paint`."""
    return tiles.decode(model.autoencoder, means(fused), repeat)


@torch.no_grad()
def paint(
    model: Impasto,
    fused: Hierarchy,
    seeds: Sequence[int],
    settings: Sampling,
    *,
    repeat: Repeat = Repeat.NONE,
    text: Text | None = None,
    away: Text | None = None,
    on_step: StepCallback | None = None,
) -> Map:
    """Pictures in [0, 1] from what was told: along the prior flow as ``settings`` say, then through the decoder.

    One seed for each picture decides its noise. Maps may have any size from that of training up; with ``repeat``,
    copies of a picture meet without a seam. ``text`` is what to show and ``away`` what not, one vector (1, text_dim) or
    one for each. See `impasto.model.sampler.sample` for the settings.
    """
    latents = sample(
        WindowedFlow(model.prior, repeat),
        fused,
        draw_noise(seeds, fused, model.prior.look_dim),
        settings,
        on_step,
        *(vector.expand(len(seeds), -1) if vector is not None else None for vector in (text, away)),
    )
    return tiles.decode(model.autoencoder, latents, repeat)
