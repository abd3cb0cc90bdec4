"""Finetuning: a trained model learns a new style from few images and keeps the old ones."""

import dataclasses
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from impasto.cli.main import main
from impasto.config import ModelConfig, TrainConfig, from_json
from impasto.data import prepare
from impasto.data.variants import random_variants
from impasto.errors import ImpastoError
from impasto.events import Event, Finished, Previewed, Warned
from impasto.model.gaussian import Gaussian
from impasto.model.impasto import Impasto, load_model, save_model
from impasto.training import copy_check, early_stop, finetune
from impasto.training.copy_check import check_copies
from impasto.training.finetune import finetune_config, read_base, with_replay
from impasto.training.loop import train
from impasto.training.run import Run


@pytest.fixture(autouse=True)
def _little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer variants and samples than a real adaptation learns from."""
    monkeypatch.setattr(finetune, "NUM_REPLAYED", 6)
    monkeypatch.setattr(finetune, "MAX_IMAGES", 28)
    monkeypatch.setattr(copy_check, "COMPARED", 16)


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """Eight drawings with holes in one folder."""
    folder = tmp_path / "mine"
    folder.mkdir()
    for number in range(8):
        rgba = np.zeros((32, 32, 4), np.uint8)
        rgba[8 : 18 + number, 6:20] = (20 * number, 200, 90, 255)
        Image.fromarray(rgba, "RGBA").save(folder / f"{number}.png")
    return folder


def finetune_config_for(few: Path, out: Path, base: Path, **changes: object) -> TrainConfig:
    """A few steps from the model ``base``."""
    settings = dict(data=few, out=out, finetune=base, images=96, batch_size=8, prior_batch_size=16, device="cpu")
    return from_json(TrainConfig, json.dumps(settings | changes, default=str), "test")


@pytest.mark.slow
def test_a_new_style_comes_beside_the_old_ones(
    few: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = itertools.count(9, -1)
    monkeypatch.setattr(early_stop, "EVALUATE_EVERY", 1)
    monkeypatch.setattr(early_stop.EarlyStoppedPriorStage, "held_out_loss", lambda self: float(next(losses)))
    before, old_styles = load_model(Run(run).model)
    events: list[Event] = []
    made = train(finetune_config_for(few, tmp_path / "adapted", run), [events.append])
    after, styles = load_model(made.model)
    assert after.config == dataclasses.replace(before.config, collections=("a", "b", "mine"))
    assert old_styles is not None and styles is not None
    torch.testing.assert_close(styles[:2].stack(), old_styles.stack())
    assert not torch.equal(styles.mean[2], styles.mean[0])
    for name, tensor in before.state_dict().items():
        if name.startswith("autoencoder.encoders"):
            assert torch.equal(after.state_dict()[name], tensor), name
    moved = [n for n, t in before.state_dict().items() if not torch.equal(after.state_dict()[n], t)]
    assert any(name.startswith("autoencoder.decoder") for name in moved)
    prior = {name for name in moved if name.startswith("prior.")}
    assert prior and all(any(part in name for part in finetune.CONDITIONING) for name in prior)
    assert isinstance(events[-1], Finished)
    assert events[-1].results[-1].startswith("copies among 16 samples")
    assert made.previews / "copies.png" in [event.path for event in events if isinstance(event, Previewed)]


def test_destylised_pairs_keep_the_ability_to_stylize_without_the_flow(few: Path, run: Path, tmp_path: Path) -> None:
    config, base = finetune_config_for(few, tmp_path / "adapted", run), read_base(run, torch.device("cpu"))
    assert finetune_config(config, base).objective.destylized_weight == 0
    base.network.config = dataclasses.replace(base.network.config, decoder_only_stylization=True)
    assert finetune_config(config, base).objective.destylized_weight == finetune.DESTYLIZED_WEIGHT
    asked = dataclasses.replace(config, objective=dataclasses.replace(config.objective, destylized_weight=0.2))
    assert finetune_config(asked, base).objective.destylized_weight == 0.2


@pytest.mark.slow
def test_an_adaptation_resumes(few: Path, run: Path, tmp_path: Path) -> None:
    whole = train(finetune_config_for(few, tmp_path / "whole", run))
    steps = iter(range(100))
    parts = finetune_config_for(few, tmp_path / "parts", run)
    train(parts, cancel=lambda: next(steps) >= 6)
    train(parts)
    expected, found = (load_model(r.model)[0].state_dict() for r in (whole, Run(tmp_path / "parts")))
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, msg=name)


@pytest.mark.slow
def test_few_updates_are_evaluated_too_and_unchanged_weights_are_announced(
    few: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([2.0, 1.0])
    monkeypatch.setattr(early_stop.EarlyStoppedPriorStage, "held_out_loss", lambda self: next(losses))
    before = load_model(Run(run).model)[0].prior.state_dict()
    events: list[Event] = []
    better = train(finetune_config_for(few, tmp_path / "better", run), [events.append])  # far fewer than 25 updates
    after = load_model(better.model)[0].prior.state_dict()
    assert any(not torch.equal(after[name], tensor) for name, tensor in before.items())
    assert not any(isinstance(event, Warned) for event in events)
    losses = iter([1.0, 2.0])
    worse = train(finetune_config_for(few, tmp_path / "worse", run), [events.append])
    after = load_model(worse.model)[0].prior.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    (warning,) = (event.text for event in events if isinstance(event, Warned))
    assert "never fell" in warning and str(run) in warning


@pytest.mark.slow
def test_it_stops_when_the_held_out_loss_no_longer_falls(
    few: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(early_stop, "EVALUATE_EVERY", 1)
    losses = iter([5.0, 3.0, 2.0, *[4.0] * 50])
    monkeypatch.setattr(early_stop.EarlyStoppedPriorStage, "held_out_loss", lambda self: next(losses))
    kept: list[dict[str, torch.Tensor]] = []
    evaluate = early_stop.EarlyStoppedPriorStage._evaluate

    def remember(self: early_stop.EarlyStoppedPriorStage) -> float:
        loss = evaluate(self)
        kept.append({n: t.clone() for n, t in self.optimizer.average.module.state_dict().items()})
        return loss

    monkeypatch.setattr(early_stop.EarlyStoppedPriorStage, "_evaluate", remember)
    made = train(finetune_config_for(few, tmp_path / "adapted", run, images=16 * 100))
    assert len(kept) == 3 + early_stop.PATIENCE
    found = load_model(made.model)[0].prior.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in kept[2].items())


def test_variants_keep_the_ground(tiny: ModelConfig) -> None:
    random = np.random.default_rng(0)
    drawing = np.full((3, 4, 32, 32), 255, np.uint8)
    drawing[:, 3] = 0
    drawing[:, :, 10:20, 8:22] = np.array([200, 30, 30, 255], np.uint8)[:, None, None]
    changed = random_variants(drawing, random)
    assert changed.shape == drawing.shape and not np.array_equal(changed, drawing)
    corners = changed[:, :, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert (corners[:, :3] == 255).all() and (corners[:, 3] == 0).all()
    photo = np.full((2, 3, 32, 32), 40, np.uint8)
    assert (random_variants(photo, random) == 40).all()


def test_what_is_learned_from(few: Path, run: Path, tmp_path: Path) -> None:
    given = prepare(few, resolution=32, cache=tmp_path / "cache")
    images = with_replay(given, read_base(run, torch.device("cpu")), seed=0)
    names = [images.entries[i].collection for i in images.train]
    assert {name: names.count(name) for name in set(names)} == {
        "a": 3,
        "b": 3,
        "mine": (8 - len(images.held_out)) * (28 // (8 - len(images.held_out))),
    }
    assert set(images.held_out) > set(given.held_out)
    assert images.batch(images.train).shape == (len(names), 4, 32, 32)


def test_little_time_means_fewer_samples_of_the_old_styles(
    few: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finetune, "NUM_REPLAYED", 60)
    given = prepare(few, resolution=32, cache=tmp_path / "cache")
    counts: list[int] = []
    asked: list[float] = []

    def is_enough(seconds: float) -> bool:
        asked.append(seconds)
        return True

    base = read_base(run, torch.device("cpu"))
    images = with_replay(given, base, 0, lambda done, total: counts.append(done), is_enough)
    names = [images.entries[i].collection for i in images.train]
    assert counts == [finetune.SAMPLED_AT_A_TIME] and len(asked) == 1 and asked[0] > 0
    assert names.count("a") == names.count("b") == finetune.SAMPLED_AT_A_TIME // 2 >= finetune.MIN_REPLAYED


def test_copies_are_found(few: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = prepare(few, resolution=32, cache=tmp_path / "cache")
    network, styles = load_model(Run(run).model)
    assert styles is not None
    line, _ = check_copies(network, styles[:1], given, seed=0)
    assert "0% by pixels" in line
    training = torch.from_numpy(given.batch(given.train)).float() / 255
    monkeypatch.setattr(
        "impasto.training.copy_check.generate_each",
        lambda network, styles, settings, batch_size: [training[torch.arange(len(styles)) % len(training)]],
    )
    line, _ = check_copies(network, styles[:1], given, seed=0)
    assert "100% by pixels" in line


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--resolution", "96"], "--resolution 96"),
        (["--init", "icons"], "use one of them"),
        (["--text"], "was trained without captions"),
    ],
)
def test_flags_that_do_not_go_with_a_model_to_begin_with(
    flags: list[str], complaint: str, few: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(few), "--out", "adapted", "--finetune", str(run), "--images", "16", *flags]) == 2
    assert complaint in capsys.readouterr().err
    assert not Path("adapted").exists()


def test_too_few_images_and_no_model(few: Path, run: Path, tmp_path: Path) -> None:
    for number in range(3, 8):
        (few / f"{number}.png").unlink()
    with pytest.raises(ImpastoError, match=r"3 images are too few .* give 4 or more"):
        train(finetune_config_for(few, tmp_path / "adapted", run))
    with pytest.raises(ImpastoError, match="there is no such run or model file"):
        train(finetune_config_for(few, tmp_path / "other", tmp_path / "nowhere"))


def test_a_model_without_alpha_sees_drawings_over_white(few: Path, run: Path, tmp_path: Path) -> None:
    opaque = Impasto(dataclasses.replace(load_model(Run(run).model)[0].config, channels=3))
    save_model(
        opaque, tmp_path / "opaque.safetensors", styles=Gaussian.unstack(torch.zeros(2, 2, opaque.config.style_dim))
    )
    given = prepare(few, resolution=32, cache=tmp_path / "cache")
    images = with_replay(given, read_base(tmp_path / "opaque.safetensors", torch.device("cpu")), seed=0)
    corners = images.batch(images.held_out)[:, :, 0, 0]
    assert corners.shape == (len(images.held_out), 3) and (corners == 255).all()
