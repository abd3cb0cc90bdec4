"""A picture's content in another style: its experts on the maps, references on the style level, the flow between."""

from collections.abc import Sequence

import torch

from impasto.config import Sampling
from impasto.create.paint import paint
from impasto.model import tiles
from impasto.model.autoencoder import Experts
from impasto.model.blocks import Map
from impasto.model.encoder import Hierarchy
from impasto.model.fuser import blend, fuse
from impasto.model.gaussian import Gaussian
from impasto.model.impasto import Impasto
from impasto.model.views import VIEW_NAMES

FADES = (0.5, 3.0, 6.0)
"""How many powers of ten the word of colours and grain loses up to full strength, at strides 32, 16 and 8."""
OWN_STYLE_FADES = 3
"""The power by which a picture's own style gives way."""


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

    ``strength`` is that of `told`. One seed for each picture decides what the flow adds.
    """
    fused = told(tiles.encode(model.autoencoder, picture), style, strength)
    return paint(model, fused, seeds, settings)


def told(experts: Experts, style: Gaussian, strength: float) -> Hierarchy:
    """The fused Gaussians of a picture's content, which ``experts`` tell, and of ``style``, by ``strength`` in [0, 1].

    At 0 the picture is told as it is, in its own style. With more, its colours and its grain fall silent, the fine ones
    first, while its structure goes on being told; and its own style gives way to ``style``. At 1 little is left of it
    but where its edges run, and its rough colours.
    """
    heard = experts[0][0].mean
    weights = heard.new_ones(len(heard), len(experts), len(experts[0]))
    fades = 10.0 ** (-strength * heard.new_tensor(FADES))
    for number, name in enumerate(VIEW_NAMES):
        if name != "orientation":
            weights[:, number, 1:] = fades
    own, *maps = fuse(experts, weights)
    return blend(style, own, (1 - strength) ** OWN_STYLE_FADES), *maps  # pyrefly: ignore
