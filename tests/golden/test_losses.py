"""Losses of twenty steps, which change only on purpose. To renew them, run this file with IMPASTO_RENEW_GOLDEN=1."""

import json
import os
from pathlib import Path

import pytest

from images import write_noise
from impasto.config import ObjectiveConfig, Size, TrainConfig, sized_model
from impasto.data import prepare
from impasto.model.blocks import channels_last
from impasto.model.impasto import Impasto
from impasto.training.autoencoder_stage import AutoencoderStage
from impasto.training.engine import Engine
from impasto.training.prior_stage import LatentCache, PriorStage
from impasto.training.stage import TrainingStage

GOLDEN = Path(__file__).parent
RENEW = bool(os.environ.get("IMPASTO_RENEW_GOLDEN"))


def train_steps(stage: TrainingStage, steps: int) -> list[dict[str, float]]:
    """The named terms of the first steps, all losses switched on from the half."""
    terms = (stage.step(step, step * stage.batch_size, step / steps)[0] for step in range(steps))
    return [{name: float(value) for name, value in values.items()} for values in terms]


def test_losses_of_twenty_steps(tmp_path: Path) -> None:
    write_noise(tmp_path / "in", *(f"{c}/{n}.png" for c in "ab" for n in range(12)), mode="RGBA")
    objective = ObjectiveConfig(swap_weight=0.1, destylized_weight=0.5)
    config = TrainConfig(
        tmp_path / "in", tmp_path / "run", size=Size.TINY, resolution=32, batch_size=8, objective=objective
    )
    images = prepare(config.data, resolution=32, cache=tmp_path / "cache")
    engine = Engine("cpu")
    engine.keep_dtype(bfloat16=False)
    model = channels_last(Impasto(sized_model(Size.TINY, channels=4, resolution=32, collections=images.collections)))
    found = {"autoencoder": train_steps(AutoencoderStage(config, engine, model.autoencoder, images), 20)}
    found["prior"] = train_steps(
        PriorStage(config, engine, model.prior, LatentCache(model.autoencoder, images, engine), images), 20
    )
    path = GOLDEN / "losses.json"
    if RENEW:
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    expected = json.loads(path.read_text(encoding="utf-8"))
    for stage, steps in expected.items():
        for number, (terms, before) in enumerate(zip(found[stage], steps, strict=True)):
            # Other processors round otherwise, and twenty updates let that grow.
            assert terms == pytest.approx(before, rel=0.03, abs=0.01), f"{stage}, step {number}"
