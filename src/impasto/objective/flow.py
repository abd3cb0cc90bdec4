"""The prior's loss: conditional flow matching from the fused Gaussians to real latents."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from impasto.model.autoencoder import LEVEL_NAMES
from impasto.model.decoder import Latents
from impasto.model.encoder import Hierarchy
from impasto.model.prior import PriorFlow


@dataclass(frozen=True)
class FlowLoss:
    """The loss and its parts."""

    total: Float[Tensor, ""]
    """Mean squared error of the velocity over all numbers of the latents."""
    level_terms: dict[str, Float[Tensor, ""]]
    """The same for each level."""


def flow_matching_loss(
    prior: PriorFlow, target: Latents, fused: Hierarchy, noise: Latents, time: Float[Tensor, " batch"]
) -> FlowLoss:
    """|| v(x_t, t, fused) - (x_1 - x_0) ||^2 with x_t on the straight line between them (Lipman 2023).

    x_0 is a sample of ``fused`` made from ``noise``, x_1 the ``target``, the posterior's mean with all experts:
    a coupling that depends on the data (Albergo 2023). ``time`` is in [0, 1].
    """
    source = [g.sample(n) for g, n in zip(fused, noise, strict=True)]
    x = [a + _like(time, a) * (b - a) for a, b in zip(source, target, strict=True)]
    velocity = prior((x[0], x[1], x[2], x[3]), time, fused)
    errors = [(v.float() - (b - a)).square() for v, a, b in zip(velocity, source, target, strict=True)]
    count = sum(error[0].numel() for error in errors)
    total = torch.stack([error.flatten(1).sum(1) for error in errors]).sum(0).mean() / count
    return FlowLoss(total, {n: e.detach().mean() for n, e in zip(LEVEL_NAMES, errors, strict=True)})


def draw_time(batch: int, generator: torch.Generator) -> Float[Tensor, " batch"]:
    """Times in (0, 1), logit-normal: more of the middle, where the flow is hardest to learn (Esser 2024)."""
    return torch.sigmoid(torch.randn(batch, generator=generator))


def _like(time: Float[Tensor, " batch"], x: Tensor) -> Tensor:
    return time.reshape(-1, *[1] * (x.dim() - 1))
