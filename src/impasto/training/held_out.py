"""Scores of the autoencoder on held-out images while it trains."""

from dataclasses import dataclass

import torch

from impasto.data import ImageSet, evenly_spaced
from impasto.evaluate.reconstruction import peak_signal_to_noise
from impasto.model.autoencoder import Autoencoder
from impasto.model.blocks import to_images
from impasto.model.levels import LEVEL_NAMES


@dataclass(frozen=True)
class HeldOutScores:
    """Averages over held-out images."""

    psnr_per_prefix: tuple[float, ...]
    """Peak signal-to-noise ratio in dB of the RGB over white, from each coarse prefix of the levels."""
    rates: tuple[float, ...]
    """KL divergence from the prior in nats, by level."""
    count: int

    def text(self) -> str:
        """One line for a person."""
        prefixes = " / ".join(f"{value:.1f}" for value in self.psnr_per_prefix)
        rates = " / ".join(f"{value:.0f}" for value in self.rates)
        return f"held out ({self.count}): PSNR {prefixes} dB, rate {rates} nats by level ({', '.join(LEVEL_NAMES)})"


@torch.no_grad()
def held_out_scores(model: Autoencoder, images: ImageSet, device: torch.device, max_images: int = 256) -> HeldOutScores:
    """Scores of the posterior's modes on up to ``max_images`` held-out images."""
    indices = evenly_spaced(images.held_out, max_images)
    psnr, rates = [], []
    for start in range(0, len(indices), 32):
        image = to_images(images.batch(indices[start : start + 32]), device)
        posterior = model.posterior(image)
        psnr.append(torch.stack([peak_signal_to_noise(output, image) for output in model.prefixes(posterior)]).cpu())
        rates.append(torch.stack([gaussian.kl() for gaussian in posterior]).cpu())
    psnr_means, rate_means = (tuple(torch.cat(parts, 1).double().mean(1).tolist()) for parts in (psnr, rates))
    return HeldOutScores(psnr_means, rate_means, len(indices))
