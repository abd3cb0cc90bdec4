"""A picture's content in another style: its experts on the maps, references on the style level, the flow between."""

from collections.abc import Sequence

import torch

from impasto.config import Sampling
from impasto.create.paint import paint, paint_told
from impasto.model import tiles
from impasto.model.blocks import Map
from impasto.model.fuser import told
from impasto.model.gaussian import Gaussian
from impasto.model.impasto import Impasto


@torch.no_grad()
def redraw(
    model: Impasto,
    picture: Map,
    style: Gaussian,
    *,
    strength: float,
    seeds: Sequence[int],
    settings: Sampling,
) -> Map:
    """Pictures in [0, 1] with the content of ``picture`` (also in [0, 1]) and ``style``, one Gaussian for each.

    ``strength`` is that of `impasto.model.fuser.told`. One seed for each picture decides what the flow adds, where the
    decoder does not redraw alone.
    """
    fused = told(tiles.encode(model.autoencoder, picture), style, strength)
    if model.config.redraws_alone:
        return paint_told(model, fused)
    return paint(model, fused, seeds, settings)
