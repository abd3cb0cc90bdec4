"""The public interface with a small model of random weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import impasto
from images import noise, write_noise
from impasto.api import Pipeline
from impasto.cli.main import main
from impasto.config import GenerateConfig, flat
from impasto.create.recipe import read_recipe
from impasto.create.vectors import Latents
from impasto.errors import ImpastoError
from impasto.model.gaussian import Gaussian
from impasto.model.impasto import Impasto, save_model


@pytest.fixture
def model(run: Path) -> Pipeline:
    """The model of the run."""
    return impasto.load(run, device="cpu")


def arrays(model: Pipeline, count: int, *style: str, seed: int = 0, start: int = 0) -> list[np.ndarray]:
    """Generated images as arrays."""
    generated = model.generate(count, flat(GenerateConfig, steps=3, seed=seed, style=style), start=start)
    return [np.asarray(image.image) for image in generated]


def test_an_image_depends_on_seed_and_index_alone(model: Pipeline) -> None:
    seven = arrays(model, 7, seed=3)
    assert len({a.tobytes() for a in seven}) == 7
    for count, start in ((1, 0), (2, 5), (3, 2), (5, 1)):
        for offset, array in enumerate(arrays(model, count, seed=3, start=start)):
            assert (array == seven[start + offset]).all()
    assert not (arrays(model, 1, seed=4)[0] == seven[0]).all()


def test_style_references_have_weights_and_no_order(model: Pipeline) -> None:
    write_noise(Path(), "one.png", "two.png", "three.png")
    forward = arrays(model, 2, "one.png:0.7", "two.png", "a:0.2")
    backward = arrays(model, 2, "a:0.2", "two.png", "one.png:0.7")
    assert all((x == y).all() for x, y in zip(forward, backward, strict=True))
    other = arrays(model, 2, "one.png:0.1", "two.png", "a:0.2")
    assert not (forward[0] == other[0]).all()
    once, scaled = arrays(model, 1, "one.png"), arrays(model, 1, "one.png:9")
    assert (once[0] == scaled[0]).all()


def test_style_strength_does_not_depend_on_the_number_of_references(model: Pipeline) -> None:
    write_noise(Path(), "one.png")
    for copy in ("two.png", "three.png"):
        Path(copy).write_bytes(Path("one.png").read_bytes())
    one = arrays(model, 1, "one.png")[0].astype(int)
    three = arrays(model, 1, "one.png", "two.png", "three.png")[0].astype(int)
    assert abs(one - three).max() <= 1


def test_a_recipe_reproduces_the_image(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_noise(Path(), "ref.png")
    assert main("generate run -n 3 --out new --steps 3 --seed 5 --style ref.png a --device cpu".split()) == 0
    assert main("generate --recipe new/seed5-0002.png --out again --device cpu".split()) == 0
    with Image.open("new/seed5-0002.png") as first, Image.open("again/seed5-0002.png") as second:
        assert first.tobytes() == second.tobytes()
    settings = read_recipe(Path("again/seed5-0002.png")).settings
    assert isinstance(settings, GenerateConfig) and settings.style == ("ref.png", "a")
    noise(seed=99).save("ref.png")
    assert main("generate --recipe new/seed5-0002.png --out third --device cpu".split()) == 2
    message = capsys.readouterr().err
    assert "ref.png has changed" in message and "new/seed5-0002.png" in message
    save_model(
        Impasto(impasto.load(run).config), Path("run/model.safetensors"), styles=Gaussian.standard(torch.zeros(2, 32))
    )
    assert main("generate --recipe new/seed5-0002.png --out third --device cpu".split()) == 2
    assert "another model" in capsys.readouterr().err
    assert not Path("third").exists()


def test_a_recipe_keeps_its_dtype(run: Path) -> None:
    coarse, fine = (impasto.load(run, "cpu", dtype) for dtype in ("bfloat16", "float32"))
    low = next(coarse.generate(1, flat(GenerateConfig, steps=3)))
    high = next(fine.generate(1, flat(GenerateConfig, steps=3)))
    assert (low.recipe.dtype, high.recipe.dtype) == ("bfloat16", "float32")
    difference = np.asarray(low.image).astype(int) - np.asarray(high.image)
    assert abs(difference).max() > 0 and abs(difference).mean() < 2
    assert fine.again(low.recipe).image.tobytes() == low.image.tobytes() and fine.dtype == "float32"
    with pytest.raises(ImpastoError, match="dtype float8"):
        impasto.load(run, "cpu", "float8")


def test_encode_then_decode_is_reconstruct(model: Pipeline) -> None:
    write_noise(Path("folder"), "one.png", "two.png", mode="RGBA")
    Path("folder/broken.png").write_bytes(b"no image")
    latents = model.encode([Path("folder")])
    assert latents.names == ("one.png", "two.png") and latents.fingerprint == model.fingerprint
    latents.save(Path("v.npz"))
    decoded = dict(model.decode(Latents.load(Path("v.npz"))))
    for result in model.reconstruct([Path("folder")], levels=True):
        assert len(result.prefixes) == 4
        difference = np.asarray(result.prefixes[-1]).astype(int) - np.asarray(decoded[result.name])
        alpha = np.asarray(decoded[result.name])[..., 3]
        assert abs(difference[alpha > 16]).max() <= 8  # un-compositing divides by alpha


def test_latents_that_do_not_fit_are_refused(model: Pipeline) -> None:
    wrong = Latents(("x",), {"style": np.zeros((1, 3), np.float32)}, model.fingerprint)
    with pytest.raises(ImpastoError, match=r"level style has the shape \(3,\)"):
        list(model.decode(wrong))


@pytest.mark.parametrize(
    ("style", "message"),
    [("nowhere", "neither a file nor a collection"), ("a:0", "above 0"), ("a:-1", "from 0 up"), ("a:nan", "from 0 up")],
)
def test_unusable_styles_are_named(model: Pipeline, style: str, message: str) -> None:
    with pytest.raises(ImpastoError, match=message):
        list(model.generate(1, flat(GenerateConfig, style=(style,))))


def test_a_path_that_is_not_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImpastoError, match="no such run"):
        impasto.load(tmp_path / "nowhere")
    with pytest.raises(ImpastoError, match="not a trained run"):
        impasto.load(tmp_path)
    (tmp_path / "text.safetensors").write_text("hello")
    with pytest.raises(ImpastoError, match="not a readable model file"):
        impasto.load(tmp_path / "text.safetensors")


def test_a_model_with_alpha_generates_transparent_images(model: Pipeline) -> None:
    image = next(iter(model.generate(1, flat(GenerateConfig, steps=2))))
    assert image.image.mode == "RGBA" and image.image.size == (32, 32)


def test_pixel_art_in_a_palette(run: Path) -> None:
    command = "generate run -n 1 --steps 2 --pixel-art 16 --palette ff0000,00ff00,0000ff --device cpu"
    assert main([*command.split(), "--out", "art"]) == 0
    assert main("generate --recipe art/seed0-0000.png --out again --device cpu".split()) == 0
    with Image.open("art/seed0-0000.png") as first, Image.open("again/seed0-0000.png") as second:
        assert first.size == (16, 16) and first.tobytes() == second.tobytes()
        colours = {tuple(c) for c in np.asarray(first)[..., :3].reshape(-1, 3).tolist()}
        assert colours <= {(255, 0, 0), (0, 255, 0), (0, 0, 255)}
        assert set(np.unique(np.asarray(first)[..., 3])) <= {0, 255}


def test_larger_and_repeating_images(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = "generate run -n 1 --steps 2 --height 32 --width 96 --tile x --device cpu"
    assert main([*command.split(), "--out", "wide"]) == 0
    assert main("generate --recipe wide/seed0-0000.png --out again --device cpu".split()) == 0
    with Image.open("wide/seed0-0000.png") as first, Image.open("again/seed0-0000.png") as second:
        assert first.size == (96, 32) and first.tobytes() == second.tobytes()
        pixels = np.asarray(first.convert("RGB")).astype(int)
    config = flat(GenerateConfig, steps=2, height=32, width=96)
    plain = np.asarray(next(iter(impasto.load("run", "cpu").generate(1, config))).image.convert("RGB"))
    inside = abs(np.diff(pixels, axis=1)).mean()
    assert abs(pixels[:, 0] - pixels[:, -1]).mean() <= 2 * inside, "the edges do not meet"
    assert (plain != pixels).any()
    assert main([*command.replace("96", "90").split(), "--out", "odd"]) == 2
    assert "--width 90: use a multiple of 32" in capsys.readouterr().err
