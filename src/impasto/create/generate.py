"""New pictures: from what is told, along the prior flow, through the decoder."""

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from impasto.config import ModelConfig, Repeat
from impasto.create.paint import paint
from impasto.model.decoder import latent_shapes
from impasto.model.encoder import Hierarchy
from impasto.model.gaussian import Gaussian
from impasto.model.impasto import Impasto
from impasto.model.sampler import StepCallback

CHUNK = 4
"""Pictures are computed this many at a time, never fewer: sums are then taken in the same order for every picture, so
that it is the same to the last bit whatever is made beside it."""


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
    *,
    seed: int,
    steps: int,
    temperature: float,
    guidance: float,
    size: tuple[int, int] | None = None,
    repeat: Repeat = Repeat.NONE,
    on_step: StepCallback | None = None,
) -> Iterator[np.ndarray]:
    """Yield one picture per index: float32 (channels, height, width) in [0, 1], RGB over white and alpha.

    ``style`` is one Gaussian, (1, style_dim), or None for any style. Picture ``index`` of ``seed`` is always the same.
    ``size`` is height and width in pixels, see `silence`. ``on_step`` is told (steps done, steps) over all chunks.
    """
    device = next(model.parameters()).device
    starts = range(0, len(indices), CHUNK)
    for number, start in enumerate(starts):
        chunk = list(indices[start : start + CHUNK])
        padded = chunk + [chunk[-1]] * (CHUNK - len(chunk))
        fused = silence(model.config, CHUNK, device, size)
        if style is not None:
            shape = (CHUNK, -1)
            fused = (Gaussian(style.mean.expand(shape), style.log_variance.expand(shape)), *fused[1:])

        def tell(done: int, total: int, before: int = number * steps, all_: int = len(starts) * steps) -> None:
            if on_step is not None:
                on_step(before + done, all_)

        pictures = paint(
            model,
            fused,
            [picture_seed(seed, index) for index in padded],
            steps=steps,
            temperature=temperature,
            guidance=1.0 if style is None else guidance,
            repeat=repeat,
            on_step=tell,
        )
        yield from pictures[: len(chunk)].float().cpu().numpy()


def picture_seed(seed: int, index: int) -> int:
    """The seed of one picture's own noise generator."""
    digest = hashlib.sha256(f"{seed}/{index}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1
