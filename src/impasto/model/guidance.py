"""Guidance: wrappers around the prior's velocity field that extrapolate its predictions."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from impasto.model.decoder import Latents
from impasto.model.gaussian import Gaussian
from impasto.model.prior import Condition, Velocities

GUIDANCE_INTERVAL = (0.0, 0.5)
"""Times of the flow, from and up to, at which guidance acts. Later it makes images worse, and classifier-free guidance
doubles the cost of a step (Kynkäänniemi 2024, arXiv 2404.07724)."""


@runtime_checkable
class VelocityField(Protocol):
    """A `PriorFlow`, or a wrapper with the same call."""

    def __call__(self, latents: Latents, time: Float[Tensor, " batch"], condition: Condition) -> Velocities:
        """The velocities of ``latents`` at ``time``."""
        ...


@dataclass(frozen=True)
class ConditionedField:
    """A velocity field with its condition."""

    field: VelocityField
    condition: Condition

    def __call__(self, latents: Latents, time: float) -> Velocities:
        """The velocities under the condition."""
        return self.field(latents, latents.style.new_full((len(latents.style),), time), self.condition)

    def with_unconditional(self, latents: Latents, time: float) -> tuple[Velocities, Latents]:
        """The velocities under the condition, and the final one without style and text, in one batch."""
        batch, other = len(latents.style), self.condition.without_style()
        text = None
        if self.condition.text is not None and other.text is not None:
            text = torch.cat([self.condition.text, other.text])
        both = Condition(
            self.condition.posterior.map(lambda *gaussians: Gaussian.cat(gaussians), other.posterior), text
        )
        doubled = latents.map(lambda z: torch.cat([z, z]))
        intermediate, final = self.field(doubled, latents.style.new_full((2 * batch,), time), both)
        conditional = Velocities(intermediate.map(lambda v: v[:batch]), final.map(lambda v: v[:batch]))
        return conditional, final.map(lambda v: v[batch:])


@dataclass(frozen=True)
class GuidedField:
    """A velocity field for sampling: classifier-free and internal guidance of a conditioned one.

    velocity = final + (internal_guidance_scale - 1) (final - intermediate) + (guidance_scale - 1) (final -
    unconditional)

    Classifier-free guidance (Ho & Salimans 2022) acts on the maps only: a style beyond the given one is a style that no
    image has. Internal guidance (Zhou 2025) extrapolates from the intermediate head. Scales of 1 switch them off.
    """

    field: ConditionedField
    guidance_scale: float
    internal_guidance_scale: float
    interval: tuple[float, float] = GUIDANCE_INTERVAL

    def __call__(self, latents: Latents, time: float) -> Latents:
        """The velocity of ``latents`` at ``time``."""
        start, stop = self.interval
        guided = start <= time < stop
        internal = self.internal_guidance_scale - 1 if guided else 0.0
        free = self.guidance_scale - 1 if guided else 0.0
        if free == 0:
            velocities = self.field(latents, time)
            return velocities.final.map(lambda v, d: v + internal * (v - d), velocities.intermediate)
        velocities, unconditional = self.field.with_unconditional(latents, time)
        intermediate, final = velocities
        guided_maps = final.map(lambda v, d, u: v + internal * (v - d) + free * (v - u), intermediate, unconditional)
        return guided_maps.with_style(final.style + internal * (final.style - intermediate.style))
