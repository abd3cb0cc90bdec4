"""The preview sheet: what the model can do now, always of the same pictures and seeds, so that sheets compare."""

import numpy as np
import torch
from PIL import Image

from impasto.config import Sampling
from impasto.create.generate import silence
from impasto.create.grid import grid
from impasto.create.picture import to_image
from impasto.data import PictureSet
from impasto.model.autoencoder import LEVEL_NAMES, NUM_EXPERTS, NUM_LEVELS, Autoencoder, means
from impasto.model.fuser import fuse, pool
from impasto.model.gaussian import Gaussian
from impasto.model.prior import PriorFlow
from impasto.model.sampler import draw_noise, sample
from impasto.model.views import VIEW_NAMES
from impasto.training.autoencoder_stage import to_device

COLUMNS = 10
TEMPERATURES = (0.6, 0.8, 1.0)


@torch.no_grad()
def preview(
    autoencoder: Autoencoder,
    pictures: PictureSet,
    device: torch.device,
    sampled: tuple[PriorFlow, torch.Tensor] | None = None,
) -> Image.Image:
    """Originals (held out) / each coarse prefix of levels / each expert alone / samples, as one labelled sheet.

    Samples need the prior and the styles of all collections; without them (in stage 1) they are left out.
    """
    chosen = pictures.held_out[np.linspace(0, len(pictures.held_out) - 1, COLUMNS).astype(int)]
    picture = to_device(pictures.batch(chosen), device)
    rows, labels = [picture], ["held out"]
    experts = autoencoder.experts(picture)
    everything = picture.new_ones(len(picture), NUM_EXPERTS, NUM_LEVELS)
    posterior = fuse(experts, everything)
    for level, name in enumerate(LEVEL_NAMES):
        known = [g.mean if i <= level else torch.zeros_like(g.mean) for i, g in enumerate(posterior)]
        rows.append(autoencoder.decode((known[0], known[1], known[2], known[3])))
        labels.append(f"to {name}")
    for index, name in enumerate(VIEW_NAMES):
        alone = torch.zeros_like(everything)
        alone[:, index] = 1
        rows.append(autoencoder.decode(means(fuse(experts, alone))))
        labels.append(f"{name} alone")
    if sampled is not None:
        prior, styles = sampled
        noise = draw_noise(range(COLUMNS), posterior, prior.look_dim)
        nothing = silence(autoencoder.config, COLUMNS, device)
        for temperature in TEMPERATURES:
            latents = sample(prior, nothing, noise, Sampling(temperature=temperature, guidance=1))
            rows.append(autoencoder.decode(latents))
            labels.append(f"T = {temperature}")
        for index, name in enumerate(pictures.collections[:12]):
            style = styles[index].expand(COLUMNS, -1, -1)
            told = (Gaussian(style[:, 0], style[:, 1]), *nothing[1:])
            rows.append(autoencoder.decode(sample(prior, told, noise, Sampling())))
            labels.append(name)
    images = [[to_image(p) for p in row.float().cpu().numpy()] for row in rows]
    return grid(images, row_labels=labels)


@torch.no_grad()
def collection_styles(
    autoencoder: Autoencoder, pictures: PictureSet, device: torch.device, references: int = 16
) -> torch.Tensor:
    """The pooled style of every collection, from its first training pictures: (collection, 2, style_dim)."""
    styles = []
    for index in range(len(pictures.collections)):
        members = pictures.train[pictures.collection_ids[pictures.train] == index]
        if len(members) == 0:
            members = np.flatnonzero(pictures.collection_ids == index)
        chosen = members[np.linspace(0, len(members) - 1, min(references, len(members))).astype(int)]
        style = autoencoder.posterior(to_device(pictures.batch(chosen), device))[0]
        pooled = pool(style, style.mean.new_full((1, len(chosen)), 1 / len(chosen)))
        styles.append(torch.stack([pooled.mean[0], pooled.log_variance[0]]))
    return torch.stack(styles)
