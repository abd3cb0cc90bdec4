"""A picture's content in another style: its experts on the maps, references on the style level, the flow between."""

from collections.abc import Sequence

import torch

from impasto.config import Sampling
from impasto.create.paint import paint
from impasto.model import tiles
from impasto.model.autoencoder import Experts
from impasto.model.blocks import Map
from impasto.model.encoder import Hierarchy
from impasto.model.fuser import blend, fuse, fuse_level
from impasto.model.gaussian import Gaussian
from impasto.model.impasto import Impasto


@torch.no_grad()
def redraw(
    model: Impasto,
    picture: Map,
    style: Gaussian,
    *,
    trust: float,
    seeds: Sequence[int],
    settings: Sampling,
) -> Map:
    """Pictures in [0, 1] with the content of ``picture`` (also in [0, 1]) and ``style``, one Gaussian for each.

    ``trust`` is the weight of all the picture's experts on the maps: at 0 only the style is told, at 1 the content is
    all but kept as it is. One seed for each picture decides what the flow adds.
    """
    fused = told(tiles.encode(model.autoencoder, picture), style, trust)
    return paint(model, fused, seeds, settings)


def told(experts: Experts, style: Gaussian, trust: float, own_style: float = 0.0) -> Hierarchy:
    """The fused Gaussians: the content that ``experts`` tell on the maps by ``trust``, ``style`` on the style level.

    ``own_style`` is the part that the picture's own style has in what is told.
    """
    heard = experts[0][0].mean
    maps = fuse(experts, heard.new_full((len(heard), len(experts), len(experts[0])), trust))[1:]
    if own_style > 0:
        own = fuse_level([expert[0] for expert in experts], [heard.new_ones(len(heard))] * len(experts))
        style = blend(style, own, own_style)
    return style, *maps
