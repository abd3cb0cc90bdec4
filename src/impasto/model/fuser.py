"""The fuser: weights and averages the experts of all encoders, level by level."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from impasto.config import ModelConfig
from impasto.model.encoder import Posterior
from impasto.model.gaussian import Gaussian
from impasto.model.levels import Levels
from impasto.model.views import VIEW_NAMES


def fuse(experts: Sequence[Posterior], weights: Float[Tensor, "batch expert level"]) -> Posterior:
    """The posterior: at every level the product of the experts, each to the power of its weight, with the prior.

    See `Gaussian.product`.
    """
    return Levels.of(
        Gaussian.product(gaussians, weights[:, :, level].unbind(1))
        for level, gaussians in enumerate(zip(*experts, strict=True))
    )


def attenuate(
    experts: Sequence[Posterior], strength: float | Float[Tensor, "batch 1"], config: ModelConfig
) -> Posterior:
    """The posterior of images whose pixel and texture experts are attenuated on the maps, fine levels most.

    ``strength`` is in [0, 1]; at 0 all experts have weight 1. ``config`` is that of the model.
    """
    like = experts[0].style.mean
    weights = like.new_ones(len(like), len(experts), 1 + len(experts[0].maps))
    attenuation = 10.0 ** (-strength * like.new_tensor(config.attenuation_log10))
    for number, name in enumerate(VIEW_NAMES):
        if name != "orientation":
            weights[:, number, 1:] = attenuation
    return fuse(experts, weights)


def stylize(
    experts: Sequence[Posterior], style: Gaussian, strength: float | Float[Tensor, "batch 1"], config: ModelConfig
) -> Posterior:
    """The posterior of images in another ``style``, by ``strength`` in [0, 1].

    At 0 it is the posterior of the images themselves. With more, the pixel and texture experts are attenuated (see
    `attenuate`), the orientation expert keeps its weight, and the images' own style is blended with ``style``. At 1
    little but edges and coarse colours is left.
    """
    posterior = attenuate(experts, strength, config)
    return posterior.with_style(style.blend(posterior.style, (1 - strength) ** config.own_style_power))
