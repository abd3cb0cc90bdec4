"""Files of past format versions, which must give the same results for ever.

To renew the sheet of images after an intended change, run this file with IMPASTO_RENEW_GOLDEN=1, and look at the sheet.
The files of format 1 were written by version 0.1, and are never written again.
"""

import dataclasses
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin
from safetensors import safe_open
from safetensors.torch import save_file

import impasto
from images import write_noise
from impasto.api import Pipeline
from impasto.config import GenerateConfig, ModelConfig, Size, TrainConfig, flat
from impasto.create.grid import grid
from impasto.create.recipe import read_recipe
from impasto.create.style import parse_reference, pooled_style
from impasto.create.style_file import read_style
from impasto.create.vectors import Latents
from impasto.errors import ImpastoError
from impasto.events import Stage
from impasto.migration import CHANGES, CURRENT, Kind, migrate
from impasto.model.gaussian import Gaussian
from impasto.model.impasto import Impasto, load_model, save_model
from impasto.training.checkpoint import Checkpoint, read_checkpoint
from impasto.training.loop import train
from impasto.training.run import read_config

GOLDEN = Path(__file__).parent
RENEW = bool(os.environ.get("IMPASTO_RENEW_GOLDEN"))
RENAMED = {
    "pictures": "data",
    "init": "finetune",
    "start_from": "init",
    "sketch_weight": "linear_skip_weight",
    "mixture_weight": "swap_weight",
    "mixture_start": "stylization_start",
    "twin_weight": "destylized_weight",
    "encoders_until": "freeze_encoders_after",
}
"""Settings of a run of format 1 that have other names now."""
RETIRED = {"linear_start", "measure_minutes", "adversarial_weight", "adversarial_start"}
"""Settings of a run of format 1 that do not exist any more."""


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


@pytest.fixture
def golden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the golden files, which is the working directory."""
    folder = tmp_path / "golden"
    shutil.copytree(GOLDEN, folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def pipeline(golden: Path) -> Pipeline:
    """The model of format 1."""
    return impasto.load("format-1.safetensors", "cpu", "float32")


# Models


def test_a_model_of_format_1_gives_the_same_images(tmp_path: Path) -> None:
    path, sheet = GOLDEN / "format-1.safetensors", GOLDEN / "format-1.png"
    if RENEW and not path.exists():
        save_model(mini_model().half(), path, styles=Gaussian.unstack(torch.randn(2, 2, 8)))
    model = impasto.load(path, "cpu", "float32")
    write_noise(tmp_path, "reference.png", mode="RGBA")
    styles = ("b", str(tmp_path / "reference.png"))
    config = flat(GenerateConfig, seed=7, steps=4)
    images = [
        [generated.image for generated in model.generate(4, config)],
        [generated.image for generated in model.generate(4, dataclasses.replace(config, style=styles))],
        [result.prefixes[0] for result in model.reconstruct([tmp_path / "reference.png"])] * 4,
    ]
    current = grid(images)
    if RENEW:
        current.save(sheet)
    with Image.open(sheet) as expected:
        difference = np.abs(np.asarray(current, np.int16) - np.asarray(expected.convert(current.mode), np.int16))
    assert difference.max() <= 2


# Runs


def test_a_config_of_format_1_keeps_every_value() -> None:
    file = GOLDEN / "format-1-config.json"
    config, old = read_config(file), json.loads(file.read_text(encoding="utf-8"))
    assert "format" not in old
    objective = old.pop("objective")
    for settings, values in ((config, old), (config.objective, objective)):
        for name, value in values.items():
            if name not in RETIRED:
                current = getattr(settings, RENAMED.get(name, name))
                assert value == (str(current) if isinstance(current, Path) else current), name
    assert RETIRED | set(RENAMED) < {*old, *objective}
    # Settings that format 1 did not have: version 0.1 used the same constants.
    expected = TrainConfig(Path("images"), Path("run"), Size.TINY, resolution=32, images=64, batch_size=8)
    assert config == dataclasses.replace(expected, prior_batch_size=8, device="cpu")


def test_initial_models_of_format_1_do_not_change_places(tmp_path: Path) -> None:
    """In format 1 ``init`` adapted a model and ``start_from`` initialised one; ``init`` has the other meaning now."""
    values = json.loads((GOLDEN / "format-1-config.json").read_text(encoding="utf-8"))
    file = tmp_path / "config.json"
    for old, current in (("init", "finetune"), ("start_from", "init")):
        file.write_text(json.dumps(values | {old: "model"}), encoding="utf-8")
        config = read_config(file)
        assert {name: getattr(config, name) for name in ("finetune", "init")} == {
            "finetune": None,
            "init": None,
            current: Path("model"),
        }


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> dict[Stage, Checkpoint]:
    """The states that this version writes after the first step of each stage of the same run."""
    folder = tmp_path_factory.mktemp("states")
    write_noise(folder / "in", *(f"{name}/{number}.png" for name in "ab" for number in range(6)), mode="RGBA")
    config = dataclasses.replace(
        read_config(GOLDEN / "format-1-config.json"), data=folder / "in", out=folder / "run", images=32
    )
    saved = {}
    for stage, num_steps in ((Stage.AUTOENCODER, 1), (Stage.PRIOR, 3)):
        answers = iter([False] * num_steps)
        run = train(config, [], lambda answers=answers: next(answers, True))
        checkpoint = read_checkpoint(run.state(stage))
        assert checkpoint is not None and list(Stage)[int(checkpoint.numbers["stage"])] is stage
        saved[stage] = checkpoint
    return saved


@pytest.mark.parametrize("stage", Stage)
def test_a_state_of_format_1_has_the_current_names(states: dict[Stage, Checkpoint], stage: Stage) -> None:
    old = read_checkpoint(GOLDEN / f"format-1-state-{stage}.safetensors")
    assert old is not None and list(Stage)[int(old.numbers["stage"])] is stage
    # Held-out images are evaluated, and the time between steps is counted, since version 0.2.
    assert set(old.tensors) == {name for name in states[stage].tensors if not name.startswith("best.")}
    since = {"budget", "overhead", "first", "last", "lowest", "best_update", "evaluations_since"}
    since |= {f"{which}.expected_after" for which in Stage}
    assert set(old.numbers) == set(states[stage].numbers) - since


# Recipes


@pytest.mark.parametrize("name", ["generated", "fused", "stylized"])
def test_a_recipe_of_format_1_reproduces_its_image(pipeline: Pipeline, name: str) -> None:
    file = Path(f"format-1-{name}.png")
    recipe = read_recipe(file)
    assert (recipe.model, recipe.dtype) == ("format-1.safetensors", "float32") and recipe.impasto.startswith("0.1")
    replayed = pipeline.again(recipe)
    with Image.open(file) as image:
        assert replayed.image.mode == image.mode
        assert np.array_equal(np.asarray(replayed.image), np.asarray(image))
    assert replayed.recipe.sources == recipe.sources


# Styles and vectors


def test_a_style_of_format_1_holds_the_same_numbers(pipeline: Pipeline) -> None:
    references = [parse_reference(text, pipeline.config.collections) for text in ("a", "b:0.5")]
    expected, _ = pooled_style(pipeline.network, pipeline.styles, references, pipeline.fingerprint)
    assert expected is not None
    saved = read_style(Path("format-1.style"), fingerprint=pipeline.fingerprint, style_dim=pipeline.config.style_dim)
    torch.testing.assert_close(saved.mean, expected.mean, atol=1e-6, rtol=0)
    torch.testing.assert_close(saved.log_variance, expected.log_variance, atol=1e-6, rtol=0)


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_vectors_of_format_1_hold_the_same_numbers(pipeline: Pipeline, suffix: str) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    saved, expected = Latents.load(Path(f"format-1{suffix}")), pipeline.encode([Path("format-1-source.png")])
    assert (saved.names, saved.fingerprint) == (expected.names, expected.fingerprint)
    assert list(saved.levels) == list(expected.levels)
    for name, values in expected.levels.items():
        np.testing.assert_allclose(saved.levels[name], values, atol=1e-6, rtol=0)


# Refusals


def with_header(source: Path, target: Path, **changes: str) -> Path:
    """A copy of a safetensors file with another header."""
    with safe_open(source, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        save_file(tensors, target, file.metadata() | changes)
    return target


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("linear_start", True),
        ("measure_minutes", 5.0),
        ("objective.adversarial_weight", 0.3),
        ("objective.adversarial_start", 0.5),
    ],
)
def test_a_retired_setting_of_a_run_is_refused_unless_it_had_no_effect(golden: Path, key: str, value: Any) -> None:
    file = golden / "format-1-config.json"
    values = json.loads(file.read_text(encoding="utf-8"))
    *parents, name = key.split(".")
    part = values[parents[0]] if parents else values
    assert name in part
    part[name] = value
    file.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(ImpastoError, match=rf"format-1-config\.json: {key} {value} is not supported"):
        read_config(file)


@pytest.mark.parametrize(
    ("key", "value"), [("linear_experts", True), ("prior_look_dim", 8), ("prior_delays", [0.0, 0.0, 0.1, 0.2])]
)
def test_a_retired_setting_of_a_model_is_refused_unless_it_had_no_effect(golden: Path, key: str, value: Any) -> None:
    file = golden / "format-1.safetensors"
    with safe_open(file, framework="pt") as content:
        config = json.loads(content.metadata()["config"])
    changed = with_header(file, golden / "changed.safetensors", config=json.dumps(config | {key: value}))
    with pytest.raises(ImpastoError, match=rf"changed\.safetensors: {key} .* is not supported"):
        load_model(changed)


def test_a_newer_format_is_refused_with_the_name_of_the_file(pipeline: Pipeline, golden: Path) -> None:
    newer = str(CURRENT + 1)
    for name in ("format-1.safetensors", "format-1-state-prior.safetensors", "format-1.style"):
        with_header(golden / name, golden / f"newer-{name}", format=newer)
    config = json.loads(Path("format-1-config.json").read_text(encoding="utf-8"))
    Path("newer-config.json").write_text(json.dumps({"format": CURRENT + 1} | config), encoding="utf-8")
    with np.load("format-1.npz") as arrays:
        np.savez("newer.npz", **{**arrays, "format": np.array(CURRENT + 1)})
    with Image.open("format-1-generated.png") as image:
        chunks = PngImagePlugin.PngInfo()
        chunks.add_itxt("impasto", image.info["impasto"].replace('"format": 1', f'"format": {newer}'))
        image.save("newer.png", pnginfo=chunks)
    readers = {
        "newer-format-1.safetensors": load_model,
        "newer-format-1-state-prior.safetensors": read_checkpoint,
        "newer-format-1.style": lambda path: read_style(path, fingerprint=pipeline.fingerprint, style_dim=8),
        "newer-config.json": read_config,
        "newer.npz": Latents.load,
        "newer.png": read_recipe,
    }
    for name, reader in readers.items():
        with pytest.raises(ImpastoError, match=rf"{name}.* has format {newer} of a newer Impasto"):
            reader(golden / name)


def test_every_format_has_a_change_for_every_version() -> None:
    for kind in Kind:
        assert set(CHANGES[kind]) == set(range(1, CURRENT))
        values: dict[str, Any] = {"a": {"b": 1}}
        assert migrate(kind, values, CURRENT, "x") == values
