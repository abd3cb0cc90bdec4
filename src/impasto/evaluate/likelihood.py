"""Bounds on the likelihood of images, with the rate of each level."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from impasto.model.autoencoder import Autoencoder
from impasto.model.blocks import Map
from impasto.model.decoder import Latents
from impasto.model.encoder import Posterior

NUM_VALUES = 256
"""Number of values of a pixel in one channel."""


@dataclass(frozen=True)
class Bounds:
    """Bounds on the negative log-likelihood of each image and their parts, in nats."""

    distortion: Float[Tensor, " image"]
    """Negative log-likelihood of the pixels, conditioned on sampled latents."""
    rates: Float[Tensor, "image level"]
    """KL divergence of each level from the standard normal prior."""
    importance_weighted: Float[Tensor, " image"]
    """The tighter bound from several samples (Burda 2016); in expectation at most the negative ELBO."""

    @property
    def negative_elbo(self) -> Float[Tensor, " image"]:
        """Distortion plus rate."""
        return self.distortion + self.rates.sum(1)


def discretised_laplace(image: Map, mean: Map, scale: Float[Tensor, " channel"]) -> Float[Tensor, " image"]:
    """The log-probability of 8-bit images in [0, 1] in nats; each pixel value is a bin of a Laplace distribution.

    The outer bins extend to infinity (as in Salimans 2017), so the probabilities of all values sum to one.
    """
    half = 0.5 / (NUM_VALUES - 1)
    laplace = torch.distributions.Laplace(mean, scale[:, None, None].clamp(min=1e-4))
    below = torch.where(image <= half, torch.zeros_like(image), laplace.cdf(image - half))
    above = torch.where(image >= 1 - half, torch.ones_like(image), laplace.cdf(image + half))
    return torch.log((above - below).clamp(min=1e-12)).flatten(1).sum(1)


@torch.no_grad()
def bounds(
    model: Autoencoder, image: Map, scale: Float[Tensor, " channel"], *, samples: int, generator: torch.Generator
) -> Bounds:
    """Bounds for a batch of 8-bit images in [0, 1], from ``samples`` samples of the latents of each image."""
    posterior = model.posterior(image)
    log_weights, distortions = [], []
    for _ in range(samples):
        latents = _sample(posterior, generator)
        log_likelihood = discretised_laplace(image, model.decode(latents), scale)
        distortions.append(-log_likelihood)
        log_weights.append(log_likelihood + _log_ratio(posterior, latents))
    rates = torch.stack([g.kl() for g in posterior], 1)
    weighted = torch.logsumexp(torch.stack(log_weights), 0) - math.log(samples)
    return Bounds(torch.stack(distortions).mean(0), rates, -weighted)


@torch.no_grad()
def fitted_scale(model: Autoencoder, image: Map, generator: torch.Generator) -> Float[Tensor, " channel"]:
    """The maximum-likelihood scale of each channel: the mean absolute error (Rybkin 2021)."""
    return (model.decode(_sample(model.posterior(image), generator)) - image).abs().mean((0, 2, 3))


def bits_per_dimension(nats: Float[Tensor, " image"], dimensions: int) -> Float[Tensor, " image"]:
    """Nats per image in bits per dimension; ``dimensions`` is channels times height times width."""
    return nats / (dimensions * math.log(2))


def _sample(posterior: Posterior, generator: torch.Generator) -> Latents:
    return posterior.map(lambda g: g.sample(torch.randn(g.mean.shape, generator=generator).to(g.mean.device)))


def _log_ratio(posterior: Posterior, latents: Latents) -> Float[Tensor, " image"]:
    """log p(z) - log q(z | x), summed over all latents."""
    total = latents.style.new_zeros(len(latents.style))
    for gaussian, z in posterior.zip(latents):
        log_prior = -0.5 * z.square()
        log_posterior = -0.5 * ((z - gaussian.mean).square() * gaussian.precision + gaussian.log_variance)
        total = total + (log_prior - log_posterior).flatten(1).sum(1)
    return total
