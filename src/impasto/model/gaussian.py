"""Diagonal Gaussians: every expert, every fused level, every pooled style and the prior."""

from collections.abc import Callable, Sequence
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
        """The prior N(0, 1), in the shape of ``like``."""
        return cls(torch.zeros_like(like), torch.zeros_like(like))

    @classmethod
    def product(cls, experts: Sequence["Gaussian"], weights: Sequence[Float[Tensor, " batch"]]) -> "Gaussian":
        """The generalised product of experts with the prior N(0, 1) (Cao & Fleet 2014; Wu & Goodman 2018):

            precision = 1 + sum_i w_i tau_i          mean = sum_i w_i tau_i mu_i / precision

        ``weights`` holds one weight >= 0 per expert and row; with all weights zero the result is the prior.
        """
        precision = torch.ones_like(experts[0].mean)
        weighted = torch.zeros_like(experts[0].mean)
        for expert, weight in zip(experts, weights, strict=True):
            tau = weight.reshape(-1, *[1] * (precision.dim() - 1)) * expert.precision
            precision = precision + tau
            weighted = weighted + tau * expert.mean
        return cls(weighted / precision, -torch.log(precision))

    @classmethod
    def cat(cls, parts: Sequence["Gaussian"]) -> "Gaussian":
        """One batch of several."""
        return cls(torch.cat([p.mean for p in parts]), torch.cat([p.log_variance for p in parts]))

    @classmethod
    def unstack(cls, stacked: Float[Tensor, "batch 2 ..."]) -> "Gaussian":
        """The inverse of `stack`."""
        mean, log_variance = stacked.unbind(1)
        return cls(mean, log_variance)

    @property
    def precision(self) -> Float[Tensor, "batch ..."]:
        """1 / variance."""
        return torch.exp(-self.log_variance)

    @property
    def standard_deviation(self) -> Float[Tensor, "batch ..."]:
        """Square root of the variance."""
        return torch.exp(0.5 * self.log_variance)

    @property
    def mode(self) -> Float[Tensor, "batch ..."]:
        """The most likely value, which is the mean."""
        return self.mean

    def sample(self, noise: Float[Tensor, "batch ..."], temperature: float = 1.0) -> Float[Tensor, "batch ..."]:
        """A sample, from standard normal ``noise`` (the reparameterisation of Kingma & Welling 2014).

        ``temperature`` scales the standard deviation: 0 gives the mean.
        """
        return self.mean + temperature * self.standard_deviation * noise

    def kl(self, other: "Gaussian | None" = None) -> Float[Tensor, " batch"]:
        """KL(self || other) in nats, summed over all but the batch; ``other`` defaults to N(0, 1)."""
        if other is None:
            terms = 0.5 * (self.mean.square() + self.log_variance.exp() - 1 - self.log_variance)
        else:
            difference = self.log_variance - other.log_variance
            distance = (self.mean - other.mean).square() * other.precision
            terms = 0.5 * (distance + difference.exp() - 1 - difference)
        return terms.flatten(1).sum(1)

    def average(self, linear: Callable[[Tensor], Tensor]) -> "Gaussian":
        """The precision-weighted average under a ``linear`` map whose weights sum to one:

        precision = linear(tau)          mean = linear(tau mu) / precision

        A weighted sum over the batch gives a logarithmic opinion pool, spatial pooling a coarser Gaussian.
        """
        precision = linear(self.precision)
        return Gaussian(linear(self.precision * self.mean) / precision, -torch.log(precision))

    def pool(self, shares: Float[Tensor, "group batch"]) -> "Gaussian":
        """Logarithmic opinion pools of the batch (Genest & Zidek 1986), one for each row of ``shares``.

        Each row sums to one: neither the number of Gaussians in a pool nor their order changes its precision.
        """
        shape = self.mean.shape[1:]
        return self.average(lambda values: (shares @ values.flatten(1)).unflatten(1, shape))

    def blend(self, other: "Gaussian", share: float | Float[Tensor, "..."]) -> "Gaussian":
        """The logarithmic opinion pool with ``other``, row by row: ``share`` of it, the rest of this one.

        ``share`` is a number or a tensor that broadcasts over the batch.
        """
        precision = (1 - share) * self.precision + share * other.precision
        weighted = (1 - share) * self.precision * self.mean + share * other.precision * other.mean
        return Gaussian(weighted / precision, -torch.log(precision))

    def power(self, exponent: float | Float[Tensor, "..."]) -> "Gaussian":
        """The density to the power of ``exponent`` > 0, normalised: the precision times the exponent."""
        return Gaussian(self.mean, self.log_variance - torch.log(torch.as_tensor(exponent)))

    def apply(self, function: Callable[[Tensor], Tensor]) -> "Gaussian":
        """``function`` of the mean and of the log-variance: to index, move, reshape or repeat."""
        return Gaussian(function(self.mean), function(self.log_variance))

    def stack(self) -> Float[Tensor, "batch 2 ..."]:
        """Mean and log-variance as one tensor, as files and caches hold them."""
        return torch.stack([self.mean, self.log_variance], 1)

    def detach(self) -> "Gaussian":
        """The same numbers without their graph."""
        return self.apply(Tensor.detach)

    def to(self, device: torch.device) -> "Gaussian":
        """The same numbers on ``device``."""
        return self.apply(lambda values: values.to(device))

    def expand(self, batch: int) -> "Gaussian":
        """A batch of one, repeated without a copy."""
        return self.apply(lambda values: values.expand(batch, *values.shape[1:]))

    def __len__(self) -> int:
        return len(self.mean)

    def __getitem__(self, index: Tensor | slice | int | list[int]) -> "Gaussian":
        return self.apply(lambda values: values[index])
