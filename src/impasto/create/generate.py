"""New pictures: from what is told, along the prior flow, through the decoder."""

import dataclasses
import hashlib
import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from impasto.config import ModelConfig, Repeat, Sampling
from impasto.create.paint import paint
from impasto.model.blocks import Map
from impasto.model.decoder import latent_shapes
from impasto.model.encoder import Hierarchy
from impasto.model.gaussian import Gaussian
from impasto.model.impasto import Impasto
from impasto.model.prior import Text
from impasto.model.sampler import StepCallback

CHUNK = 2
"""Pictures are computed this many at a time, never fewer, each always in the same row: the order in which a processor
adds up differs from row to row. So every picture is the same to the last bit whatever is made beside it.
With two, one alone waits little, and many are hardly slower."""


def silence(config: ModelConfig, batch: int, device: torch.device, size: tuple[int, int] | None = None) -> Hierarchy:
    """The fused Gaussians when no expert speaks: the prior N(0, 1) on every level.

    ``size`` is the pictures' height and width in pixels, multiples of 32; the model's own resolution where not given.
    """
    shapes = latent_shapes(config, size)
    style, coarse, middle, fine = (Gaussian.standard(torch.zeros(batch, *shape, device=device)) for shape in shapes)
    return style, coarse, middle, fine


def generate(
    model: Impasto,
    style: Gaussian | None,
    indices: Sequence[int],
    settings: Sampling,
    *,
    size: tuple[int, int] | None = None,
    repeat: Repeat = Repeat.NONE,
    text: Text | None = None,
    away: Text | None = None,
    on_step: StepCallback | None = None,
) -> Iterator[np.ndarray]:
    """Yield one picture per index: float32 (channels, height, width) in [0, 1], RGB over white and alpha.

    ``style`` is one Gaussian, (1, style_dim), or None for any style; ``text`` and ``away`` are as of `paint`. Picture
    ``index`` of a seed is always the same. ``size`` is height and width in pixels, see `silence`. ``on_step`` is told
    (steps done, steps) over all chunks.
    """
    if style is None and text is None:
        settings = dataclasses.replace(settings, guidance=1.0)
    device = next(model.parameters()).device
    blocks = [(block, list(chosen)) for block, chosen in itertools.groupby(indices, lambda index: index // CHUNK)]
    for number, (block, chosen) in enumerate(blocks):
        fused = silence(model.config, CHUNK, device, size)
        if style is not None:
            shape = (CHUNK, -1)
            fused = (Gaussian(style.mean.expand(shape), style.log_variance.expand(shape)), *fused[1:])

        def tell(done: int, total: int, before: int = number * settings.steps) -> None:
            if on_step is not None:
                on_step(before + done, len(blocks) * settings.steps)

        seeds = [picture_seed(settings.seed, index) for index in range(block * CHUNK, (block + 1) * CHUNK)]
        pictures = paint(model, fused, seeds, settings, repeat=repeat, text=text, away=away, on_step=tell)
        for index in chosen:
            yield pictures[index % CHUNK].float().cpu().numpy()


def generate_each(
    model: Impasto,
    styles: Float[Tensor, "picture 2 style"],
    settings: Sampling,
    at_a_time: int = 32,
    texts: Float[Tensor, "picture text"] | None = None,
) -> Iterator[Map]:
    """Yield batches of new pictures in [0, 1], on the CPU, one in each of ``styles`` (mean and log-variance).

    ``texts`` says what to show on each, as vectors. They are those of `generate`, but for the last bits, which depend
    on what is made beside them.
    """
    device = next(model.parameters()).device
    for start in range(0, len(styles), at_a_time):
        told = styles[start : start + at_a_time].to(device)
        fused = (Gaussian(told[:, 0], told[:, 1]), *silence(model.config, len(told), device)[1:])
        seeds = [picture_seed(settings.seed, start + row) for row in range(len(told))]
        text = texts[start : start + at_a_time].to(device) if texts is not None else None
        yield paint(model, fused, seeds, settings, text=text).float().cpu()


def picture_seed(seed: int, index: int) -> int:
    """The seed of one picture's own noise generator."""
    digest = hashlib.sha256(f"{seed}/{index}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1
