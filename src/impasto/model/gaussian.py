"""Diagonal Gaussians: what every expert, every fused level and the prior is."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Gaussian:
    """A diagonal Gaussian over a latent level, batch first."""

    mean: Float[Tensor, "batch ..."]
    log_variance: Float[Tensor, "batch ..."]

    @classmethod
    def standard(cls, like: Float[Tensor, "batch ..."]) -> "Gaussian":
        """The prior expert N(0, 1), in the shape of ``like``."""
        return cls(torch.zeros_like(like), torch.zeros_like(like))

    @property
    def precision(self) -> Float[Tensor, "batch ..."]:
        """One over the variance: how sure it is."""
        return torch.exp(-self.log_variance)

    @property
    def standard_deviation(self) -> Float[Tensor, "batch ..."]:
        """Square root of the variance."""
        return torch.exp(0.5 * self.log_variance)

    def sample(self, noise: Float[Tensor, "batch ..."], temperature: float = 1.0) -> Float[Tensor, "batch ..."]:
        """A sample, from standard normal ``noise`` (the reparameterisation of Kingma & Welling 2014).

        ``temperature`` scales the standard deviation: 0 gives the mean.
        """
        return self.mean + temperature * self.standard_deviation * noise

    def kl(self, other: "Gaussian | None" = None) -> Float[Tensor, " batch"]:
        """KL(self || other) in nats, summed over all but the batch; ``other`` is N(0, 1) where not given."""
        if other is None:
            terms = 0.5 * (self.mean.square() + self.log_variance.exp() - 1 - self.log_variance)
        else:
            difference = self.log_variance - other.log_variance
            distance = (self.mean - other.mean).square() * other.precision
            terms = 0.5 * (distance + difference.exp() - 1 - difference)
        return terms.flatten(1).sum(1)

    def detach(self) -> "Gaussian":
        """The same numbers without their graph."""
        return Gaussian(self.mean.detach(), self.log_variance.detach())

    def __getitem__(self, index: Tensor | slice | int) -> "Gaussian":
        return Gaussian(self.mean[index], self.log_variance[index])
