"""Files of format 1 are read with the same meaning."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin
from safetensors.torch import save_file

import impasto
from images import noise
from impasto.cli.main import main
from impasto.config import FuseConfig, GenerateConfig, Output, Prompt, Repeat, Sampling, StylizeConfig, flat
from impasto.create.fuse import MIN_SOURCE_WEIGHT, source_weight
from impasto.create.recipe import Recipe, read_recipe
from impasto.create.style_file import describe
from impasto.create.vectors import Latents
from impasto.errors import ImpastoError
from impasto.migration import migrate
from impasto.model.impasto import load_model, save_model

COMMON = """"seed": 3, "steps": 2, "temperature": 0.9, "guidance": 1.5, "clarity": 2.0, "tile": "none", "palette": null,
"pixel_art": null, "opaque": false, "text": null, "negative_text": null"""
GENERATE = f"""{{"format": 1, "command": "generate", "model": "run", "identity": "0123456789abcdef",
"settings": {{{COMMON}, "style": ["a"], "height": null, "width": 64}},
"index": 1, "content": null, "precision": "float32", "sources": {{}}, "impasto": "0.1.0"}}"""
STYLIZE = f"""{{"format": 1, "command": "stylize", "model": "run", "identity": "0123456789abcdef",
"settings": {{{COMMON}, "style": ["a"], "strength": 0.4, "preserve_color": true, "flow": "auto", "passes": 1,
"steady": false, "most": 512}},
"index": 0, "content": "x.png", "precision": "float32", "sources": {{}}, "impasto": "0.1.0"}}"""
FUSE = f"""{{"format": 1, "command": "fuse", "model": "run", "identity": "0123456789abcdef",
"settings": {{{COMMON}, "pixel": [], "orientation": ["x.png"], "texture": [], "style": [], "harmony": 1.0,
"level_weights": [1.0, 1.0, 1.0, 0.5], "most": 4096}},
"index": 0, "content": null, "precision": "float32", "sources": {{}}, "impasto": "0.1.0"}}"""
SAMPLING = Sampling(seed=3, steps=2, temperature=0.9, guidance=1.5, internal_guidance=2.0)
EXPECTED = {
    GENERATE: GenerateConfig(SAMPLING, style=("a",), width=64),
    STYLIZE: StylizeConfig(
        SAMPLING, style=("a",), strength=0.4, preserve_color=True, temporal_smoothing=False, max_side=512
    ),
    FUSE: FuseConfig(SAMPLING, orientation=("x.png",), conditioning_scale=1e-9, level_weights=(1, 1, 1, 0.5)),
}


def write(path: Path, recipe: str) -> Path:
    """An image with a recipe inside."""
    chunks = PngImagePlugin.PngInfo()
    chunks.add_itxt("impasto", recipe)
    chunks.add_text("Software", "Impasto 0.1.0")
    Image.new("RGB", (8, 8)).save(path, pnginfo=chunks)
    return path


@pytest.mark.parametrize("text", EXPECTED)
def test_a_recipe_of_format_1_is_read(tmp_path: Path, text: str) -> None:
    recipe = read_recipe(write(tmp_path / "old.png", text))
    assert recipe.settings == EXPECTED[text]
    assert (recipe.fingerprint, recipe.dtype, recipe.impasto) == ("0123456789abcdef", "float32", "0.1.0")


@pytest.mark.parametrize("text", EXPECTED)
@pytest.mark.parametrize("decoder_only", [False, True])
def test_a_recipe_of_format_1_is_replayed(run: Path, text: str, decoder_only: bool) -> None:
    if decoder_only:
        network, styles = load_model(run / "model.safetensors")
        config = network.config.__class__(**{**network.config.__dict__, "decoder_only_stylization": True})
        network.config = config
        save_model(network, run / "model.safetensors", styles=styles)
    noise(40, 40).save("x.png")
    model = impasto.load(run, "cpu", "float32")
    write(Path("old.png"), text.replace("0123456789abcdef", model.fingerprint))
    assert main("generate --recipe old.png --out again --device cpu".split()) == 0
    settings = EXPECTED[text]
    if isinstance(settings, StylizeConfig):
        settings = settings.without_unused(model.config)
        expected = next(model.stylize(Path("x.png"), settings))
    elif isinstance(settings, FuseConfig):
        expected = next(model.fuse(settings))
    else:
        expected = next(model.generate(1, settings, start=1))
    with Image.open("again/old.png") as again:
        assert again.tobytes() == expected.image.tobytes()


def test_a_migrated_harmony_gives_the_same_source_weight() -> None:
    for harmony in np.linspace(0, 1, 21).tolist():
        values = migrate("recipe", {"command": "fuse", "settings": {"harmony": harmony}}, 1, "x")
        scale = values["settings"]["conditioning_scale"]
        old, new = torch.tensor([MIN_SOURCE_WEIGHT**harmony, source_weight(scale)])
        assert scale > 0 and old == new, harmony
    assert source_weight(0) == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"clarity": 1.0, "sampling": 3}, "sampling: 3 is not a JSON object"), ({"clarity": 1.0}, r"lacks")],
)
def test_a_damaged_recipe_of_format_1_is_named(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    text = json.dumps(json.loads(GENERATE) | {"settings": settings})
    with pytest.raises(ImpastoError, match=message) as caught:
        read_recipe(write(tmp_path / "old.png", text))
    assert "old.png" in str(caught.value)


def test_the_current_format_is_written_and_does_not_change() -> None:
    settings = GenerateConfig(SAMPLING, Prompt("sun", "moon"), Output(Repeat.X, "4"), style=("a",))
    values = json.loads(Recipe("run", "0" * 16, settings).to_json())
    assert values["format"] == 2 and values["settings"]["sampling"]["internal_guidance"] == 2
    assert migrate("recipe", values, 2, "x") == values
    assert flat(GenerateConfig, text="sun").prompt == Prompt("sun")


def test_vectors_and_styles_of_format_1_are_read(tmp_path: Path) -> None:
    names = np.frombuffer(b'["a"]', np.uint8)
    arrays = {"format": np.array(1), "identity": np.array("0" * 16), "names": names}
    np.savez(tmp_path / "v.npz", **arrays, **{"level.style": np.zeros((1, 3), np.float32)})  # pyrefly: ignore
    assert Latents.load(tmp_path / "v.npz").fingerprint == "0" * 16
    header = {"format": "1", "identity": "0" * 16, "sources": '["a"]'}
    save_file({"mean": torch.zeros(3), "log_variance": torch.zeros(3)}, tmp_path / "a.style", header)
    assert describe(tmp_path / "a.style") == ("0" * 16, ("a",))
