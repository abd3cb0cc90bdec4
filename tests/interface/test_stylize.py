"""`impasto stylize` and `impasto style` with random weights: sizes, resuming, recipes, shifts, styles and refusals."""

import dataclasses
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import impasto
from images import noise, write_noise
from impasto.cli.main import main
from impasto.config import Flow, ModelConfig, Repeat, StylizeConfig, flat
from impasto.create.image import with_colours_of
from impasto.create.recipe import read_recipe
from impasto.model.autoencoder import Autoencoder
from impasto.model.fuser import fuse
from impasto.model.fuser import stylize as stylized_posterior
from impasto.model.gaussian import Gaussian
from impasto.model.impasto import Impasto, load_model, save_model

FAST = "--steps 2 --device cpu"


def stylize(arguments: str) -> int:
    """Run the command."""
    fast = "--device cpu" if "--flow off" in arguments else FAST
    return main(["stylize", *arguments.split(), *fast.split()])


def pixels(path: str | Path) -> np.ndarray:
    """The image in a file."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGBA")).astype(int)


def test_an_image_keeps_its_size_and_holds_its_recipe(run: Path) -> None:
    noise(71, 45, mode="RGBA").save("odd.png")
    assert stylize("run odd.png --style a --out new --strength 0.4") == 0
    with Image.open("new/odd.png") as stylized:
        assert stylized.size == (71, 45) and stylized.mode == "RGBA"
    recipe = read_recipe(Path("new/odd.png"))
    assert recipe.content == "odd.png"
    assert recipe.settings == flat(StylizeConfig, style=("a",), strength=0.4, steps=2)


def test_folder_in_folder_out_and_on_from_where_it_stopped(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_noise(Path("in"), "one.png", "deep/er/two.png", "deep/er/two.webp")
    Path("in/broken.png").write_bytes(b"no image")
    assert stylize("run in --style a --out new") == 0
    assert "skipped broken.png" in capsys.readouterr().err
    names = sorted(p.relative_to("new").as_posix() for p in Path("new").rglob("*.png"))
    assert names == ["deep/er/two-2.png", "deep/er/two.png", "one.png"]
    Path("new/one.png").unlink()
    written = Path("new/deep/er/two.png").stat().st_mtime_ns
    assert stylize("run in --style a --out new") == 0
    assert "1 image in new, 2 were there already" in capsys.readouterr().out
    assert Path("new/deep/er/two.png").stat().st_mtime_ns == written and Path("new/one.png").exists()
    assert stylize("run in --style b --out new") == 0
    names = sorted(p.relative_to("new").as_posix() for p in Path("new").rglob("*.png"))
    assert names == [
        *("deep/er/two-2-2.png", "deep/er/two-2.png", "deep/er/two-3.png", "deep/er/two.png"),
        *("one-2.png", "one.png"),
    ]
    assert Path("new/deep/er/two.png").stat().st_mtime_ns == written
    settings = read_recipe(Path("new/one-2.png")).settings
    assert isinstance(settings, StylizeConfig) and settings.style == ("b",), "images in another style have a number"
    for style in "ba":
        capsys.readouterr()
        assert stylize(f"run in --style {style} --out new") == 0
        assert "0 images in new, 3 were there already" in capsys.readouterr().out


def test_a_style_image_that_changed_and_images_that_cannot(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_noise(Path("in"), "one.png")
    noise(64, 32).save("in/wide.png")
    noise(seed=5).save("ref.png")
    assert stylize("run in --style ref.png --out new --tile x") == 0
    assert "skipped one.png: --tile x: a width of 40 px cannot repeat" in capsys.readouterr().err
    before = pixels("new/wide.png")
    noise(seed=6).save("ref.png")
    assert stylize("run in --style ref.png --out new --tile x") == 0
    assert (pixels("new/wide.png") == before).all()
    assert (pixels("new/wide-2.png") != before).any(), "a style image of another content is another style"
    assert main("generate --recipe new/wide-2.png --out again --device cpu".split()) == 0
    assert (pixels("new/wide-2.png") == pixels("again/wide-2.png")).all()
    noise(64, 32, seed=8).save("in/wide.png")
    assert main("generate --recipe new/wide-2.png --out third --device cpu".split()) == 2
    assert "in/wide.png has changed" in capsys.readouterr().err


def test_the_order_of_styles_changes_nothing_and_the_seed_everything(run: Path) -> None:
    write_noise(Path(), "x.png", "ref.png")
    for out, more in (("1", "a ref.png:0.5"), ("2", "ref.png:0.5 a"), ("3", "a ref.png:0.5 --seed 1")):
        assert stylize(f"run x.png --out {out} --style {more}") == 0
    assert (pixels("1/x.png") == pixels("2/x.png")).all()
    assert (pixels("1/x.png") != pixels("3/x.png")).any()


@pytest.mark.parametrize("tile", ["", "--tile x"])
def test_shifts_are_the_mean_over_shifted_copies(run: Path, tile: str) -> None:
    noise(64, 45 if tile else 64).save("one.png")
    assert stylize(f"run one.png --style a --flow off --num-shifts 2 --out twice {tile}") == 0
    model = impasto.load("run", "cpu")
    repeat = Repeat.X if tile else Repeat.NONE
    stylizer = model.stylizer(flat(StylizeConfig, style=("a",), flow=Flow.OFF, tile=repeat, num_shifts=2))
    first, second = stylizer.canvases(45 if tile else 64, 64)
    assert (second.top - first.top, second.left + second.roll_right) == (11, 30)
    assert second.canvas_width == (64 if tile else 96) and (second.canvas_height, first.canvas_height) == (96, 64)
    image = np.asarray(Image.open("one.png").convert("RGBA")).transpose(2, 0, 1)[: model.config.channels]
    decoded = [
        canvas.take(stylizer.output(stylizer.posterior(stylizer.encode(canvas.put(image)))))
        for canvas in (first, second)
    ]
    assert np.abs(decoded[0] - decoded[1]).max() > 0.01
    expected = np.asarray(stylizer.finish(np.mean(decoded, 0), image).convert("RGBA")).astype(int)
    assert np.abs(pixels("twice/one.png") - expected).max() <= 1


def test_the_flow_is_left_out_with_decoder_only_stylization(run: Path, tiny: ModelConfig) -> None:
    write_noise(Path(), "x.png")
    network, styles = load_model(run / "model.safetensors")
    network.config = dataclasses.replace(tiny, decoder_only_stylization=True)
    Path("alone").mkdir()
    save_model(network, Path("alone/model.safetensors"), styles=styles)
    ways = {"1": "run", "2": "run --flow on", "3": "run --flow off", "4": "alone", "5": "alone --flow on"}
    outputs = {}
    for out, way in ways.items():
        model, *more = way.split()
        fast = [] if "off" in more or way == "alone" else ["--steps", "2"]
        arguments = ["--out", out, "--style", "a", "--device", "cpu", *more, *fast]
        assert main(["stylize", model, "x.png", *arguments]) == 0
        outputs[out] = pixels(f"{out}/x.png")
    assert (outputs["1"] == outputs["2"]).all() and (outputs["2"] == outputs["5"]).all()
    assert (outputs["3"] == outputs["4"]).all() and (outputs["2"] != outputs["3"]).any()
    config = flat(StylizeConfig, style=("a",), text="sun")
    assert config.follows_flow(network.config), "only the flow is conditioned on text"


def test_a_saved_style_is_the_style(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_noise(Path(), "x.png", "ref.png")
    assert main("style save run a ref.png:2 -o my.style --device cpu".split()) == 0
    assert stylize("run x.png --style a ref.png:2 --out direct") == 0
    assert stylize("run x.png --style my.style --out saved") == 0
    direct, saved = pixels("direct/x.png"), pixels("saved/x.png")
    # Rounding differs in the last bits; the colour of an almost transparent pixel magnifies it.
    assert abs(direct - saved)[..., 3].max() <= 1
    assert (abs(direct - saved)[..., :3] * direct[..., 3:] <= 255).all()
    capsys.readouterr()
    assert main("style show my.style".split()) == 0
    assert "a, ref.png:2" in capsys.readouterr().out


def test_a_style_of_another_model_is_refused(run: Path, tiny: ModelConfig, capsys: pytest.CaptureFixture[str]) -> None:
    write_noise(Path(), "x.png")
    assert main("style save run a -o my.style --device cpu".split()) == 0
    other = Path("other/model.safetensors")
    other.parent.mkdir()
    save_model(Impasto(tiny), other, styles=Gaussian.standard(torch.zeros(2, tiny.style_dim)))
    capsys.readouterr()
    assert stylize(f"{other} x.png --style my.style --out new") == 2
    message = capsys.readouterr().err
    assert impasto.load(run, "cpu").fingerprint in message and impasto.load(other, "cpu").fingerprint in message
    Path("my.style").write_bytes(b"no style")
    assert stylize("run x.png --style my.style --out new") == 2
    assert "my.style is not a readable style" in capsys.readouterr().err
    assert main("style save run a -o my.png --device cpu".split()) == 2
    assert "ends in .style" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("run x.png --out new", "--style is missing"),
        ("run nothing.png --style a --out new", "does not exist"),
        ("run broken.png --style a --out new", "broken.png"),
        ("run empty --style a --out new", "no readable image"),
        ("run x.png --style a --out new --strength 1.5", "--strength 1.5"),
        ("run x.png --style a --out new --flow off --text sun", "--flow off"),
        ("run x.png --style a --out new --num-shifts 4", "use it with --flow off"),
        ("run x.png --style a:0 --out new", "above 0"),
        ("run x.png --style a --out new --tile x", "cannot repeat"),
        ("run x.png --style a --out new --palette 1", "2 to 256"),
        ("run x.png --style a --out new --pixel-art 500", "--pixel-art 500"),
    ],
)
def test_bad_input_is_named(run: Path, arguments: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    noise(50, 40).save("x.png")
    Path("broken.png").write_bytes(b"no image")
    Path("empty").mkdir()
    assert stylize(arguments) == 2
    assert message in capsys.readouterr().err
    assert not list(Path().glob("new/*"))


def test_larger_than_training_and_repeating(run: Path) -> None:
    noise(160, 64).save("wide.png")
    assert stylize("run wide.png --style a --out new --tile x --palette 4") == 0
    wide = pixels("new/wide.png")
    assert wide.shape == (64, 160, 4)
    assert len(np.unique(wide[..., :3].reshape(-1, 3), axis=0)) <= 4


def test_colours_are_kept_where_only_the_lightness_is_redrawn() -> None:
    rng = np.random.default_rng(0)
    original, decoded = (0.3 + 0.4 * rng.random((4, 8, 8), dtype=np.float32) for _ in range(2))
    combined = with_colours_of(decoded, original)
    assert np.allclose(np.diff(combined[:3], axis=0), np.diff(original[:3], axis=0), atol=1e-5), "chroma differs"
    luma = np.array([0.299, 0.587, 0.114])
    assert np.allclose(np.tensordot(luma, combined[:3], 1), np.tensordot(luma, decoded[:3], 1), atol=1e-5)
    assert (combined[3] == decoded[3]).all()


def test_python_streams_images(run: Path) -> None:
    write_noise(Path("in"), "one.png", "two.png")
    model = impasto.load("run", "cpu")
    images = list(model.stylize(Path("in"), flat(StylizeConfig, style=("a",), steps=1)))
    assert [image.recipe.content for image in images] == ["in/one.png", "in/two.png"]


def test_strength_attenuates_colours_before_structure(tiny: ModelConfig) -> None:
    model, image = Autoencoder(tiny), torch.rand(2, 4, 64, 64)
    style = Gaussian(torch.full((2, tiny.style_dim), 0.5), torch.full((2, tiny.style_dim), -2.0))
    with torch.no_grad():
        experts = model.experts(image)
        posteriors = [stylized_posterior(experts, style, strength, tiny) for strength in (0.0, 0.5, 1.0)]
        structure = fuse(experts, torch.tensor([0.0, 1.0, 0.0])[None, :, None].expand(2, 3, 4))
        for stylized, gaussian in posteriors[0].zip(model.posterior(image)):
            torch.testing.assert_close(stylized.mean, gaussian.mean)
    precisions = [[float(level.precision.mean()) for level in posterior.maps] for posterior in posteriors]
    assert all(first > second > third for first, second, third in zip(*precisions, strict=True))
    # At the finest stride almost nothing else is left.
    torch.testing.assert_close(posteriors[2].maps[2].mean, structure.maps[2].mean, atol=1e-2, rtol=0)
    torch.testing.assert_close(posteriors[2].style.mean, style.mean)


def test_several_inputs_have_outputs_of_different_names(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_noise(Path(), "x.png", "other/x.png")
    write_noise(Path("in"), "x.png", "deep/y.png")
    with zipfile.ZipFile("more.zip", "w") as archive:
        archive.write("x.png", "x.png")
    line = "run x.png other/x.png in more.zip --style a --out new"
    assert stylize(line) == 0
    assert capsys.readouterr().out == "5 images in new\n"
    names = sorted(p.relative_to("new").as_posix() for p in Path("new").rglob("*.png"))
    assert names == ["in/deep/y.png", "in/x.png", "more/x.png", "x-2.png", "x.png"]
    assert read_recipe(Path("new/x-2.png")).content == "other/x.png"
    assert stylize(f"{line} --json") == 0
    lines = [json.loads(text) for text in capsys.readouterr().out.splitlines()]
    assert [line["path"] for line in lines][:2] == ["new/x.png", "new/x-2.png"] and all(line["kept"] for line in lines)


def test_several_inputs_are_checked_before_the_work(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_noise(Path(), "x.png", "y.png")
    Path("broken.png").write_bytes(b"no image")
    assert stylize("run x.png nothing.png --style a --out new") == 2
    message = "nothing.png does not exist: use images, folders, archives (.zip, .tar) or clips (.mp4, .webm, .gif)."
    assert capsys.readouterr().err == f"error: {message}\n"
    assert stylize("run x.png y.png --style a --no-temporal-smoothing --out new") == 2
    assert "IMAGES is not a clip" in capsys.readouterr().err
    Path("new").mkdir()
    noise().save("new/y.png")
    assert stylize("run x.png y.png --style a --out new") == 2
    assert "y.png exists and was not written by Impasto" in capsys.readouterr().err
    assert sorted(p.name for p in Path("new").iterdir()) == ["y.png"]
    assert stylize("run x.png broken.png --style a --out other") == 0
    captured = capsys.readouterr()
    assert captured.out == "other/x.png\n" and captured.err.startswith("warning: skipped broken.png: ")
    assert stylize("run --style a --out new") == 2
    assert "IMAGES is missing" in capsys.readouterr().err


def test_images_and_clips_may_be_mixed(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("av")
    write_noise(Path(), "x.png")
    noise(40, 40).save("x.gif", save_all=True, append_images=[noise(40, 40, seed=1)])
    assert stylize("run x.gif x.png --style a --no-temporal-smoothing --out new") == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("2 files in new\nnew/x.webm: 2 frames, frame difference ")
    assert sorted(p.name for p in Path("new").iterdir()) == ["x-2.png", "x.webm"]
    settings = read_recipe(Path("new/x-2.png")).settings
    assert isinstance(settings, StylizeConfig) and settings.temporal_smoothing, "an image has no settings of clips"


def test_a_clip_in_another_style_gets_a_number(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("av")
    noise(40, 40).save("x.gif", save_all=True, append_images=[noise(40, 40, seed=1)])

    def path_of(style: str) -> str:
        capsys.readouterr()
        assert stylize(f"run x.gif --style {style} --clip webp --json") == 0
        return json.loads(capsys.readouterr().out)["path"]

    expected = [f"pictures/x{number}.webp" for number in ("", "-2", "", "-2")]
    assert [path_of(style) for style in "abab"] == expected
    noise(40, 40, seed=2).save("x.gif", save_all=True, append_images=[noise(40, 40, seed=1)])
    assert path_of("a") == "pictures/x-3.webp", "another clip of the same name"
    noise().save("pictures/y.webp")
    Path("x.gif").rename("y.gif")
    assert stylize("run y.gif --style a --clip webp") == 2
    assert "y.webp exists and is not a clip that Impasto wrote" in capsys.readouterr().err
