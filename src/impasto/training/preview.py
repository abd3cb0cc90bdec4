"""What a run shows of the model while it trains: the preview sheet, and scores of held-out images.

Sheet and scores always use the same images and seeds, so that they can be compared over time.
"""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from impasto.config import Sampling
from impasto.create.generate import unconditional
from impasto.create.grid import grid
from impasto.create.image import to_image
from impasto.create.sampling import sample_condition
from impasto.data import ImageSet, evenly_spaced
from impasto.evaluate.reconstruction import peak_signal_to_noise
from impasto.model.autoencoder import NUM_EXPERTS, Autoencoder, modes
from impasto.model.blocks import to_images
from impasto.model.fuser import fuse
from impasto.model.gaussian import Gaussian
from impasto.model.levels import LEVEL_NAMES, NUM_LEVELS
from impasto.model.prior import Condition, PriorFlow
from impasto.model.views import VIEW_NAMES

COLUMNS = 10
TEMPERATURES = (0.6, 0.8, 1.0)
MAX_STYLES = 12
"""Collections of which samples are shown."""
NUM_PREFIXES = NUM_LEVELS
NUM_RECONSTRUCTED_ROWS = NUM_PREFIXES + NUM_EXPERTS
REFERENCES = 16
"""Training images from which the style of a collection is pooled."""
MAX_SCORED = 256
"""Held-out images of which scores are averages."""


@torch.no_grad()
def preview(
    autoencoder: Autoencoder,
    images: ImageSet,
    device: torch.device,
    sampled: tuple[PriorFlow, Gaussian] | None = None,
) -> Image.Image:
    """Originals (held out) / each coarse prefix of levels / each expert alone / samples, as one labelled sheet.

    Samples need the prior and the styles of all collections; without them (in stage 1) there are none.
    """
    indices = images.held_out[np.linspace(0, len(images.held_out) - 1, COLUMNS).astype(int)]
    image = to_images(images.batch(indices), device)
    rows, labels = [image], ["held out"]
    experts = autoencoder.experts(image)
    everything = image.new_ones(len(image), NUM_EXPERTS, NUM_LEVELS)
    posterior = fuse(experts, everything)
    rows += autoencoder.prefixes(posterior)
    labels += [f"to {name}" for name in LEVEL_NAMES]
    for index, name in enumerate(VIEW_NAMES):
        alone = torch.zeros_like(everything)
        alone[:, index] = 1
        rows.append(autoencoder.decode(modes(fuse(experts, alone))))
        labels.append(f"{name} alone")
    if sampled is not None:
        prior, styles = sampled
        free = unconditional(autoencoder.config, COLUMNS, device)
        seeds = range(COLUMNS)
        for temperature in TEMPERATURES:
            settings = Sampling(temperature=temperature, guidance=1.0)
            rows.append(autoencoder.decode(sample_condition(prior, Condition(free), seeds, settings)))
            labels.append(f"T = {temperature}")
        for index, name in enumerate(images.collections[:MAX_STYLES]):
            condition = Condition(free.with_style(styles[[index]].expand(COLUMNS)))
            rows.append(autoencoder.decode(sample_condition(prior, condition, seeds, Sampling())))
            labels.append(name)
    return grid([[to_image(p) for p in row.float().cpu().numpy()] for row in rows], row_labels=labels)


@torch.no_grad()
def collection_styles(
    autoencoder: Autoencoder, images: ImageSet, device: torch.device, references: int = REFERENCES
) -> Gaussian:
    """The pooled style of every collection, from some of its training images: (collection, style_dim)."""
    styles = []
    for index in range(len(images.collections)):
        members = images.train[images.collection_ids[images.train] == index]
        if len(members) == 0:
            members = np.flatnonzero(images.collection_ids == index)
        indices = members[np.linspace(0, len(members) - 1, min(references, len(members))).astype(int)]
        style = autoencoder.styles(to_images(images.batch(indices), device))
        styles.append(style.pool(style.mean.new_full((1, len(indices)), 1 / len(indices))))
    return Gaussian.cat(styles)


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
def held_out_scores(
    model: Autoencoder, images: ImageSet, device: torch.device, max_images: int = MAX_SCORED
) -> HeldOutScores:
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
