"""Cheap scores on held-out pictures and of samples, while a model trains."""

from dataclasses import dataclass

import torch

from impasto.config import Against, Sampling
from impasto.data import PictureSet, spread
from impasto.evaluate.judge import Judge
from impasto.evaluate.samples import make_samples
from impasto.evaluate.scores import Measured, Score
from impasto.model.autoencoder import LEVEL_NAMES, NUM_LEVELS, Autoencoder
from impasto.model.blocks import Map
from impasto.model.impasto import Impasto
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
    chosen = spread(pictures.held_out, most)
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


class SampleMeter:
    """A few samples beside a few real pictures: far from `impasto evaluate`, but the same numbers."""

    SAMPLES = 192
    REAL = 768
    SETTINGS = Sampling()

    def __init__(self, pictures: PictureSet, device: torch.device) -> None:
        self._judge = Judge(pictures, device, seed=0, most=self.REAL)

    def text(self, model: Impasto, styles: torch.Tensor) -> str:
        """Kernel distance and probe accuracy of samples, the same for the same model."""
        judge, made = self._judge, make_samples(model, styles, self._judge, self.SAMPLES, self.SETTINGS)
        scores = [*judge.generation(made.looks, Against.ALL)[:2], *judge.style(made.looks, made.labels)[:2]]
        return f"samples ({self.SAMPLES}): " + ", ".join(_said(score) for score in scores)


def _said(score: Measured) -> str:
    if not isinstance(score, Score):
        return f"{score.name} not measured"
    references = ", ".join(f"{name} {value:.3g}" for name, value in score.references.items())
    return f"{score.name} {score.value:.3g} ({references})" if references else f"{score.name} {score.value:.3g}"


def peak_signal_to_noise(painted: Map, picture: Map) -> torch.Tensor:
    """PSNR in dB of each picture's RGB over white, values in [0, 1]; at most 100."""
    error = (painted[:, :3] - picture[:, :3]).square().flatten(1).mean(1)
    return -10 * torch.log10(error.clamp(min=1e-10))
