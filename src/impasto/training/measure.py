"""Cheap scores of the autoencoder on held-out pictures, while it trains."""

from dataclasses import dataclass

import torch

from impasto.data import PictureSet
from impasto.model.autoencoder import LEVEL_NAMES, NUM_LEVELS, Autoencoder
from impasto.model.blocks import Map
from impasto.training.autoencoder_stage import to_device


@dataclass(frozen=True)
class HeldOutScores:
    """Averages over held-out pictures."""

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
def held_out_scores(model: Autoencoder, pictures: PictureSet, device: torch.device, most: int = 256) -> HeldOutScores:
    """Scores of posterior means on up to ``most`` held-out pictures."""
    chosen = pictures.held_out[:: max(1, -(-len(pictures.held_out) // most))]
    psnr, rates = torch.zeros(NUM_LEVELS, dtype=torch.float64), torch.zeros(NUM_LEVELS, dtype=torch.float64)
    for start in range(0, len(chosen), 32):
        picture = to_device(pictures.batch(chosen[start : start + 32]), device)
        posterior = model.posterior(picture)
        for level in range(NUM_LEVELS):
            means = [g.mean if i <= level else torch.zeros_like(g.mean) for i, g in enumerate(posterior)]
            painted = model.decode((means[0], means[1], means[2], means[3]))
            psnr[level] += peak_signal_to_noise(painted, picture).sum().cpu()
            rates[level] += posterior[level].kl().sum().cpu()
    count = len(chosen)
    return HeldOutScores(tuple((psnr / count).tolist()), tuple((rates / count).tolist()), count)


def peak_signal_to_noise(painted: Map, picture: Map) -> torch.Tensor:
    """PSNR in dB of each picture's RGB over white, values in [0, 1]; at most 100."""
    error = (painted[:, :3] - picture[:, :3]).square().flatten(1).mean(1)
    return -10 * torch.log10(error.clamp(min=1e-10))
