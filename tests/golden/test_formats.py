"""A model file of each past version, which still makes the same images.

To renew the sheets after a change that means to, run this file with IMPASTO_RENEW_GOLDEN=1 and look at what it
wrote. The model of format 1 is never written again: every later version must read it.
"""

import os
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import impasto
from images import write_noise
from impasto.config import GenerateConfig, ModelConfig
from impasto.create.grid import grid
from impasto.model.gaussian import Gaussian
from impasto.model.impasto import Impasto, save_model

GOLDEN = Path(__file__).parent
RENEW = bool(os.environ.get("IMPASTO_RENEW_GOLDEN"))


def mini_model() -> Impasto:
    """The smallest model that has every part."""
    config = ModelConfig(
        resolution=32,
        collections=("a", "b"),
        style_dim=8,
        map_channels=(8, 8, 4),
        encoder_widths=(8, 8, 8, 8, 8),
        pyramid_width=8,
        decoder_widths=(8, 8, 8, 8, 8),
        decoder_depths=(1, 1, 1, 1, 1),
        prior_width=32,
        prior_depth=1,
        prior_head_dim=16,
    )
    return Impasto(config)


def test_a_model_of_format_1_still_paints_the_same(tmp_path: Path) -> None:
    path, sheet = GOLDEN / "format-1.safetensors", GOLDEN / "format-1.png"
    if RENEW and not path.exists():
        save_model(mini_model().half(), path, styles=Gaussian.unstack(torch.randn(2, 2, 8)))
    model = impasto.load(path, "cpu", "float32")
    write_noise(tmp_path, "reference.png", mode="RGBA")
    styles = ("b", str(tmp_path / "reference.png"))
    images = [
        [made.image for made in model.generate(4, GenerateConfig(seed=7, steps=4))],
        [made.image for made in model.generate(4, GenerateConfig(seed=7, steps=4, style=styles))],
        [made.prefixes[0] for made in model.reconstruct([tmp_path / "reference.png"])] * 4,
    ]
    found = grid(images)
    if RENEW:
        found.save(sheet)
    with Image.open(sheet) as before:
        difference = np.abs(np.asarray(found, np.int16) - np.asarray(before.convert(found.mode), np.int16))
    assert difference.max() <= 2
