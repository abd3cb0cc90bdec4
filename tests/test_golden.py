"""Numbers and pictures that only change on purpose: losses of twenty steps, and an old model file that still paints.

To renew them after a change that means to, run this file with IMPASTO_RENEW_GOLDEN=1 and look at what it made. The
model of format 1 is never made anew: every later version must read it.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import impasto
from impasto.config import GenerateConfig, ModelConfig, ObjectiveConfig, Size, TrainConfig, flat, sized_model
from impasto.create.grid import grid
from impasto.data import prepare
from impasto.model.blocks import channels_last
from impasto.model.impasto import Impasto, save_model
from impasto.training.autoencoder_stage import AutoencoderStage
from impasto.training.engine import Engine
from impasto.training.prior_stage import LatentCache, PriorStage
from impasto.training.stage import TrainingStage
from pictures import write_noise

GOLDEN = Path(__file__).parent / "golden"
RENEW = bool(os.environ.get("IMPASTO_RENEW_GOLDEN"))


def train_steps(stage: TrainingStage, steps: int) -> list[dict[str, float]]:
    """The named terms of the first steps, all losses switched on from the half."""
    return [stage.step(step, step * stage.batch_size, step / steps)[0] for step in range(steps)]


def test_losses_of_twenty_steps(tmp_path: Path) -> None:
    write_noise(tmp_path / "in", *(f"{c}/{n}.png" for c in "ab" for n in range(12)), mode="RGBA")
    objective = ObjectiveConfig(mixture_weight=0.1, twin_weight=0.5)
    config = TrainConfig(
        tmp_path / "in", tmp_path / "run", size=Size.TINY, resolution=32, batch_size=8, objective=objective
    )
    pictures = prepare(config.pictures, resolution=32, cache=tmp_path / "cache")
    engine = Engine("cpu")
    engine.keep_precision(bfloat16=False)
    model = channels_last(Impasto(sized_model(Size.TINY, channels=4, resolution=32, collections=pictures.collections)))
    found = {"autoencoder": train_steps(AutoencoderStage(config, engine, model.autoencoder, pictures), 20)}
    found["prior"] = train_steps(
        PriorStage(config, engine, model.prior, LatentCache(model.autoencoder, pictures, engine), pictures), 20
    )
    path = GOLDEN / "losses.json"
    if RENEW:
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    expected = json.loads(path.read_text(encoding="utf-8"))
    for stage, steps in expected.items():
        for number, (terms, before) in enumerate(zip(found[stage], steps, strict=True)):
            # Other processors round otherwise, and twenty updates let that grow.
            assert terms == pytest.approx(before, rel=0.03, abs=0.01), f"{stage}, step {number}"


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
        save_model(mini_model().half(), path, styles=torch.randn(2, 2, 8).half())
    model = impasto.load(path, "cpu", "float32")
    write_noise(tmp_path, "reference.png", mode="RGBA")
    styles = ("b", str(tmp_path / "reference.png"))
    pictures = [
        [made.image for made in model.generate(4, flat(GenerateConfig, seed=7, steps=4))],
        [made.image for made in model.generate(4, flat(GenerateConfig, seed=7, steps=4, style=styles))],
        [made.prefixes[0] for made in model.reconstruct([tmp_path / "reference.png"])] * 4,
    ]
    found = grid(pictures)
    if RENEW:
        found.save(sheet)
    with Image.open(sheet) as before:
        difference = np.abs(np.asarray(found, np.int16) - np.asarray(before.convert(found.mode), np.int16))
    assert difference.max() <= 2
