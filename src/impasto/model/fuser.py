"""The fuser: weighs and averages what the experts say, over encoders, over levels and over pictures."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from impasto.model.encoder import Hierarchy
from impasto.model.gaussian import Gaussian
from impasto.model.views import VIEW_NAMES

FADES = (0.3, 1.8, 3.6)
"""How many powers of ten the word of colours and grain loses up to full strength, at strides 32, 16 and 8."""
OWN_STYLE_FADES = 3
"""The power by which a picture's own style gives way."""


def fuse_level(experts: Sequence[Gaussian], weights: Sequence[Float[Tensor, " batch"]]) -> Gaussian:
    """The generalised product of experts with the prior N(0, 1) (Cao & Fleet 2014; Wu & Goodman 2018):

        precision = 1 + sum_i w_i tau_i          mean = sum_i w_i tau_i mu_i / precision

    ``weights`` holds one weight >= 0 per expert and picture; with all weights zero the result is the prior.
    """
    precision = torch.ones_like(experts[0].mean)
    weighted = torch.zeros_like(experts[0].mean)
    for expert, weight in zip(experts, weights, strict=True):
        tau = weight.reshape(-1, *[1] * (precision.dim() - 1)) * expert.precision
        precision = precision + tau
        weighted = weighted + tau * expert.mean
    return Gaussian(weighted / precision, -torch.log(precision))


def fuse(experts: Sequence[Hierarchy], weights: Float[Tensor, "batch expert level"]) -> Hierarchy:
    """Fuse every level of several encoders' experts with the prior; see `fuse_level`."""
    style, coarse, middle, fine = (
        fuse_level([expert[level] for expert in experts], list(weights[:, :, level].unbind(1))) for level in range(4)
    )
    return style, coarse, middle, fine


def pool(gaussians: Gaussian, weights: Float[Tensor, "group batch"]) -> Gaussian:
    """Logarithmic opinion pools of a batch of Gaussians (Genest & Zidek 1986): precisions and means averaged by weight.

    Each row of ``weights`` sums to one, so the strength of a pool does not depend on how many pictures are in it;
    their order does not matter. The result has one Gaussian per row.
    """
    precision = weights @ gaussians.precision
    mean = weights @ (gaussians.precision * gaussians.mean) / precision
    return Gaussian(mean, -torch.log(precision))


def blend(a: Gaussian, b: Gaussian, share: float | Float[Tensor, "..."]) -> Gaussian:
    """The logarithmic opinion pool of two batches, picture by picture: ``share`` of ``b``, the rest of ``a``.

    One share for all, or a tensor of shares that goes with the Gaussians' shapes.
    """
    precision = (1 - share) * a.precision + share * b.precision
    mean = ((1 - share) * a.precision * a.mean + share * b.precision * b.mean) / precision
    return Gaussian(mean, -torch.log(precision))


def faded(experts: Sequence[Hierarchy], strength: float | Float[Tensor, "batch 1"]) -> Hierarchy:
    """The fused Gaussians of pictures whose colours and grain fall silent, the fine ones first; see `told`."""
    heard = experts[0][0].mean
    weights = heard.new_ones(len(heard), len(experts), len(experts[0]))
    fades = 10.0 ** (-strength * heard.new_tensor(FADES))
    for number, name in enumerate(VIEW_NAMES):
        if name != "orientation":
            weights[:, number, 1:] = fades
    return fuse(experts, weights)


def told(experts: Sequence[Hierarchy], style: Gaussian, strength: float | Float[Tensor, "batch 1"]) -> Hierarchy:
    """The fused Gaussians of pictures' content, which ``experts`` tell, and of ``style``, by ``strength`` in [0, 1].

    At 0 a picture is told as it is, in its own style. With more, its colours and its grain fall silent, the fine ones
    first, while its structure goes on being told; and its own style gives way to ``style``. At 1 little is left of it
    but where its edges run, and its rough colours.
    """
    own, *maps = faded(experts, strength)
    return blend(style, own, (1 - strength) ** OWN_STYLE_FADES), *maps  # pyrefly: ignore
