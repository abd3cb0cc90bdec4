"""Generate images: from a condition, along the prior flow, through the decoder."""

import dataclasses
import hashlib
import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from impasto.config import ModelConfig, Repeat, Sampling
from impasto.create.sampling import sample_images
from impasto.model.blocks import Map
from impasto.model.decoder import latent_shapes
from impasto.model.encoder import Posterior
from impasto.model.gaussian import Gaussian
from impasto.model.impasto import Impasto
from impasto.model.prior import Condition, Text
from impasto.model.sampler import StepCallback

CHUNK = 2
"""Batch size. Every batch is full, and every image has a fixed row in it: the order of floating-point sums differs from
row to row. So an image does not depend on the others in its batch, to the last bit."""


def unconditional(
    config: ModelConfig, batch: int, device: torch.device, size: tuple[int, int] | None = None
) -> Posterior:
    """The standard normal prior on every level: the posterior without any expert.

    ``size`` is the images' height and width in pixels, multiples of 32; it defaults to the model's resolution.
    """
    shapes = latent_shapes(config, size)
    return shapes.map(lambda shape: Gaussian.standard(torch.zeros(batch, *shape, device=device)))


def generate(
    model: Impasto,
    style: Gaussian | None,
    indices: Sequence[int],
    settings: Sampling,
    *,
    size: tuple[int, int] | None = None,
    repeat: Repeat = Repeat.NONE,
    text: Text | None = None,
    negative_text: Text | None = None,
    on_step: StepCallback | None = None,
) -> Iterator[np.ndarray]:
    """Yield one image per index: float32 (channels, height, width) in [0, 1], RGB over white and alpha.

    ``style`` is one Gaussian, (1, style_dim), or None for any style; the texts are vectors, (1, text_dim). Image
    ``index`` of a seed is always the same. ``size`` is height and width in pixels, see `unconditional`. ``on_step`` is
    called with (steps done, steps) over all chunks.
    """
    if style is None and text is None:
        settings = dataclasses.replace(settings, guidance=1.0)
    device = next(model.parameters()).device
    posterior = unconditional(model.config, CHUNK, device, size)
    if style is not None:
        posterior = posterior.with_style(style.expand(CHUNK))
    condition = Condition(posterior, text, negative_text)
    blocks = [(block, list(rows)) for block, rows in itertools.groupby(indices, lambda index: index // CHUNK)]
    for number, (block, rows) in enumerate(blocks):

        def report(done: int, total: int, before: int = number * settings.steps) -> None:
            if on_step is not None:
                on_step(before + done, len(blocks) * settings.steps)

        seeds = [image_seed(settings.seed, index) for index in range(block * CHUNK, (block + 1) * CHUNK)]
        images = sample_images(model, condition, seeds, settings, repeat=repeat, on_step=report)
        for index in rows:
            yield images[index % CHUNK].float().cpu().numpy()


def generate_each(
    model: Impasto,
    styles: Gaussian,
    settings: Sampling,
    batch_size: int = 32,
    texts: Float[Tensor, "image text"] | None = None,
) -> Iterator[Map]:
    """Yield batches of images in [0, 1], on the CPU: one image for each row of ``styles``, (image, style_dim).

    ``texts`` holds one text vector per image. The images equal those of `generate` except for the last bits, which
    depend on the batch.
    """
    device = next(model.parameters()).device
    for start in range(0, len(styles), batch_size):
        style = styles[start : start + batch_size].to(device)
        posterior = unconditional(model.config, len(style), device).with_style(style)
        seeds = [image_seed(settings.seed, start + row) for row in range(len(style))]
        text = texts[start : start + batch_size].to(device) if texts is not None else None
        yield sample_images(model, Condition(posterior, text), seeds, settings).float().cpu()


def image_seed(seed: int, index: int) -> int:
    """The seed of one image's noise generator."""
    digest = hashlib.sha256(f"{seed}/{index}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1
