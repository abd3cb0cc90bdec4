"""The prior's loss: conditional flow matching from the posterior of the sources to the latents of real images."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from impasto.model.decoder import Latents
from impasto.model.levels import LEVEL_NAMES
from impasto.model.prior import Condition, PriorFlow


@dataclass(frozen=True)
class FlowLoss:
    """Mean squared errors of the predicted velocity."""

    final: Float[Tensor, ""]
    """Over all numbers of the latents, of the last head."""
    intermediate: Float[Tensor, ""]
    """The same for the intermediate head."""
    levels: dict[str, Float[Tensor, ""]]
    """Of the last head, for each level; detached."""


def flow_matching_loss(
    prior: PriorFlow, target: Latents, condition: Condition, noise: Latents, time: Float[Tensor, " batch"]
) -> FlowLoss:
    """|| v(x_t, t, condition) - (x_1 - x_0) ||^2 with x_t on the straight line between them (Lipman 2023).

    x_0 is a sample of the condition's posterior made from ``noise``, x_1 the ``target``, the mode of the posterior with
    all experts: a coupling that depends on the data (Albergo 2023). ``time`` is in [0, 1].
    """
    source = condition.posterior.map(lambda gaussian, n: gaussian.sample(n), noise)
    x = source.map(lambda a, b: a + time.reshape(-1, *[1] * (a.dim() - 1)) * (b - a), target)
    velocity = source.map(lambda a, b: b - a, target)
    predicted = prior.predict(x, time, condition)
    intermediate, final = (p.map(lambda v, w: (v.float() - w).square(), velocity) for p in predicted)
    levels = {name: error.detach().mean() for name, error in zip(LEVEL_NAMES, final, strict=True)}
    return FlowLoss(_mean(final), _mean(intermediate), levels)


def draw_time(batch: int, generator: torch.Generator) -> Float[Tensor, " batch"]:
    """Times in (0, 1), logit-normal: more of the middle, where the flow is hardest to learn (Esser 2024)."""
    return torch.sigmoid(torch.randn(batch, generator=generator))


def _mean(errors: Latents) -> Float[Tensor, ""]:
    """Over all numbers of all levels."""
    total = torch.stack([error.sum() for error in errors]).sum()
    return total / sum(error.numel() for error in errors)
