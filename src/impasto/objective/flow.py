"""The prior's loss: conditional flow matching from the fused Gaussians to real latents."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from impasto.model.autoencoder import LEVEL_NAMES
from impasto.model.decoder import Latents
from impasto.model.encoder import Hierarchy
from impasto.model.prior import PriorFlow, Text
from impasto.model.schedule import level_times

DRAFT_WEIGHT = 0.5
"""Weight of the draft's error against the velocity's own."""


@dataclass(frozen=True)
class FlowLoss:
    """The loss and its parts."""

    total: Float[Tensor, ""]
    """What to minimise: the error of the velocity, and a part of that of its draft."""
    velocity: Float[Tensor, ""]
    """Mean squared error of the velocity over all numbers of the latents."""
    draft: Float[Tensor, ""]
    """The same for the draft."""
    level_terms: dict[str, Float[Tensor, ""]]
    """The error of the velocity, for each level."""


def flow_matching_loss(
    prior: PriorFlow,
    target: Latents,
    fused: Hierarchy,
    noise: Latents,
    time: Float[Tensor, " batch"],
    text: Text | None = None,
) -> FlowLoss:
    """|| v(x_t, t, fused) - (x_1 - x_0) ||^2 with x_t on the straight line between them (Lipman 2023).

    x_0 is a sample of ``fused`` made from ``noise``, x_1 the ``target``, the posterior's mean with all experts:
    a coupling that depends on the data (Albergo 2023). ``time`` is in [0, 1].
    """
    source = [g.sample(n) for g, n in zip(fused, noise, strict=True)]
    times = level_times(time, prior.delays)
    x = [a + _like(t, a) * (b - a) for t, a, b in zip(times, source, target, strict=True)]
    wanted = [b - a for a, b in zip(source, target, strict=True)]
    draft, velocity = prior.both((x[0], x[1], x[2], x[3]), time, fused, text)
    errors, draft_errors = (
        [(v.float() - w).square() for v, w in zip(said, wanted, strict=True)] for said in (velocity, draft)
    )
    # A level that is finished moves no more; one that has not begun may say already where it will go.
    moving = [(t < 1).float() for t in times]
    total, draft_total = _mean(errors, moving), _mean(draft_errors, moving)
    terms = {name: error.detach().mean() for name, error in zip(LEVEL_NAMES, errors, strict=True)}
    return FlowLoss(total + DRAFT_WEIGHT * draft_total, total.detach(), draft_total.detach(), terms)


def draw_time(batch: int, generator: torch.Generator) -> Float[Tensor, " batch"]:
    """Times in (0, 1), logit-normal: more of the middle, where the flow is hardest to learn (Esser 2024)."""
    return torch.sigmoid(torch.randn(batch, generator=generator))


def _like(time: Float[Tensor, " batch"], x: Tensor) -> Tensor:
    return time.reshape(-1, *[1] * (x.dim() - 1))


def _mean(errors: list[Tensor], moving: list[Float[Tensor, " batch"]]) -> Float[Tensor, ""]:
    """Over all numbers of all levels that move."""
    total = torch.stack([(m * e.flatten(1).sum(1)).sum() for m, e in zip(moving, errors, strict=True)]).sum()
    count = torch.stack([m.sum() * e[0].numel() for m, e in zip(moving, errors, strict=True)]).sum()
    return total / count.clamp(min=1)
