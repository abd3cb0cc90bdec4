"""The public interface with a small model of random weights."""

import io
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import impasto
from images import noise, write_noise
from impasto.api import Pipeline
from impasto.cli.main import main
from impasto.config import FuseConfig, GenerateConfig, StylizeConfig, TrainConfig, flat
from impasto.create.fuse import between, varied
from impasto.create.recipe import read_recipe
from impasto.create.style import parse_reference
from impasto.create.vectors import Latents
from impasto.errors import ImpastoError
from impasto.events import Finished, Listener
from impasto.model.gaussian import Gaussian
from impasto.model.impasto import Impasto, save_model


@pytest.fixture
def model(run: Path) -> Pipeline:
    """The model of the run."""
    return impasto.load(run, device="cpu")


def arrays(model: Pipeline, count: int, *style: Any, seed: int = 0, start: int = 0) -> list[np.ndarray]:
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
    [
        ("nowhere", r"neither a file nor a collection of this model \(it has a, b\)\."),
        ("a:0", "above 0"),
        ("a:-1", "from 0 up"),
        ("a:nan", "from 0 up"),
    ],
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


# Images as arguments


def test_strings_paths_and_images_give_the_same_result(model: Pipeline) -> None:
    write_noise(Path(), "cat.png")
    image = noise(seed=0)
    config = flat(StylizeConfig, style="a", steps=1)
    expected, *others = (
        next(model.stylize(content, config)).image.tobytes()
        for content in ("cat.png", Path("cat.png"), image, [image], (Path("cat.png"),))
    )
    assert all(other == expected for other in others)
    assert len(list(model.stylize([image, "cat.png"], config))) == 2
    for images in (image, "cat.png", [image]):
        assert (model.encode(images).levels["style"] == model.encode([Path("cat.png")]).levels["style"]).all()
        assert next(model.reconstruct(images)).original.size == (32, 32)
    assert (arrays(model, 1, image)[0] == arrays(model, 1, "cat.png")[0]).all()
    assert (arrays(model, 1, (image, 2), "a")[0] == arrays(model, 1, "cat.png:2", "a")[0]).all()
    fused = [
        next(model.fuse(flat(FuseConfig, pixel=source, orientation=[source], style="b", steps=1))).image.tobytes()
        for source in ("cat.png", Path("cat.png"), image)
    ]
    assert fused[0] == fused[1] == fused[2]
    one, two = (next(model.fuse(varied(source, (), flat(FuseConfig, steps=1)))).image for source in (image, "cat.png"))
    assert one.tobytes() == two.tobytes()
    halves = [[*between(start, "cat.png", 3, FuseConfig())][1] for start in (image, "cat.png")]
    assert halves[1].pixel == ("cat.png:0.5", "cat.png:0.5") and halves[0].pixel[0] != halves[1].pixel[0]
    model.save_style(image, "one.style")
    model.save_style(["cat.png"], Path("two.style"))
    assert (arrays(model, 1, "one.style")[0] == arrays(model, 1, "two.style")[0]).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "RGBa", "I;16", "I", "F", "CMYK", "YCbCr", "HSV"])
def test_images_of_any_mode_are_read_as_files_are(model: Pipeline, mode: str) -> None:
    image = noise(mode="RGBA" if mode == "RGBa" else "RGB" if mode == "HSV" else mode)
    image = image.convert(mode) if mode in ("RGBa", "HSV") else image
    if mode == "P":
        image.info["transparency"] = 3
    whole = next(iter(model.whole_images(image, max_side=20)))
    assert whole.pixels.shape == (4, 20, 20) and whole.pixels.dtype == np.uint8
    if mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        image.save("x.png")
        assert (next(iter(model.whole_images("x.png", max_side=20))).pixels == whole.pixels).all()


def test_the_orientation_of_photos_is_applied_and_later_changes_do_not_matter(model: Pipeline) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    noise(64, 32).save("photo.jpg", exif=exif)
    with Image.open("photo.jpg") as photo:
        assert next(iter(model.whole_images(photo))).pixels.shape == (4, 64, 32)
    image = noise()
    config = flat(GenerateConfig, style=image, steps=1)
    before = next(model.generate(1, config)).image.tobytes()
    image.paste("red", (0, 0, 40, 40))
    assert next(model.generate(1, config)).image.tobytes() == before
    assert config != flat(GenerateConfig, style=image, steps=1) and config == pickle.loads(pickle.dumps(config))


def test_an_image_that_cannot_be_read_is_named(model: Pipeline) -> None:
    with pytest.raises(ImpastoError, match="image of 0 x 0 px cannot be read"):
        GenerateConfig(style=Image.new("RGB", (0, 0)))
    noise(200, 200).save("whole.png")
    Path("half.png").write_bytes(Path("whole.png").read_bytes()[:3000])
    with Image.open("half.png") as image, pytest.raises(ImpastoError, match="image of 200 x 200 px cannot be read"):
        model.encode(image)
    with pytest.raises(ImpastoError, match="more than 64 million"):
        model.encode(Image.new("1", (8001, 8000)))


def test_recipes_name_images_in_memory_which_files_do_not_hold(model: Pipeline) -> None:
    image = noise(seed=1)
    results = [
        next(model.generate(1, flat(GenerateConfig, style=(image, 0.5), steps=1))),
        next(model.fuse(flat(FuseConfig, orientation=image, steps=1))),
        next(model.stylize(image, flat(StylizeConfig, style="a", steps=1))),
    ]
    for number, result in enumerate(results):
        assert "<image " in result.recipe.to_json()
        assert model.again(result.recipe).image.tobytes() == result.image.tobytes()
        result.save(f"new/{number}.png")
        recipe = read_recipe(f"new/{number}.png")
        assert recipe == result.recipe
        with pytest.raises(ImpastoError, match=r"<image [0-9a-f]{16}> was an image in memory, which no file holds"):
            model.again(recipe)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda model: next(model.stylize(3, StylizeConfig(style="a"))), "stylize(images=3): use a path, an image or"),
        (lambda model: next(model.stylize("x.png", "a")), "stylize(config='a'): use a StylizeConfig."),
        (lambda model: next(model.generate(1, StylizeConfig())), "use a GenerateConfig."),
        (lambda model: next(model.fuse(GenerateConfig())), "use a FuseConfig."),
        (lambda model: model.encode([3]), "encode(images=3): use a path, an image or"),
        (lambda model: next(model.reconstruct(None)), "reconstruct(images=None): use a path, an image or"),
        (lambda model: model.save_style(3, "a.style"), "save_style(style=3): use a name, a path, an image or"),
        (lambda model: model.save_style("a", 3), "save_style(path=3): use a path."),
        (lambda model: model.evaluate(3), "evaluate(images=3): use a path."),
        (lambda model: model.evaluate("x", GenerateConfig()), "use an EvaluateConfig."),
        (lambda model: impasto.load(3), "load(run=3): use a path."),
        (lambda model: impasto.train("emoji"), "train(config='emoji'): use a TrainConfig."),
    ],
)
def test_wrong_arguments_are_named(model: Pipeline, call: Callable[[Pipeline], object], message: str) -> None:
    with pytest.raises(ImpastoError) as caught:
        call(model)
    assert message in str(caught.value)


# Results


def test_results_describe_and_show_themselves(model: Pipeline) -> None:
    generated = next(model.generate(1, flat(GenerateConfig, seed=3, steps=1), start=2))
    assert repr(generated) == "Generated(generate, 32 x 32 px RGBA, model='run', seed=3, index=2)"
    stylized = next(model.stylize(noise(), flat(StylizeConfig, style="a", steps=1)))
    assert repr(stylized).startswith("Generated(stylize of '<image ")
    write_noise(Path(), "x.png")
    reconstruction = next(model.reconstruct("x.png", levels=True))
    assert repr(reconstruction) == "Reconstruction('x.png', 32 x 32 px RGBA, 4 prefixes)"
    for result in (generated, reconstruction):
        with Image.open(io.BytesIO(result._repr_png_())) as shown:
            assert shown.format == "PNG"
    assert repr(model) == (
        "Pipeline('run', 32 x 32 px RGBA, 2 collections (a, b), device='cpu', "
        f"dtype='{model.dtype}', fingerprint='{model.fingerprint}')"
    )
    assert "<td>a, b</td>" in model._repr_html_()


def test_a_saved_image_holds_its_recipe(model: Pipeline) -> None:
    generated = next(model.generate(1, flat(GenerateConfig, steps=1)))
    for path in ("a.png", Path("new/b.webp"), "c.jpg"):
        generated.save(path)
        assert read_recipe(path) == generated.recipe
    for path in ("a.bmp", 3):
        with pytest.raises(ImpastoError):
            generated.save(path)


def test_a_misspelt_style_is_corrected() -> None:
    names = ("noto", "openmoji", "Twemoji")
    for text, expected in {
        "opnmoji": "did you mean openmoji?",
        "NOTO:0.5": "did you mean noto?",
        "twemoji": "did you mean Twemoji?",
        "sun.png": "(it has noto, openmoji, Twemoji).",
    }.items():
        with pytest.raises(ImpastoError) as caught:
            parse_reference(text, names)
        assert str(caught.value).endswith(expected) and str(caught.value).startswith("style ")


# The package


def test_the_package_lists_its_names_and_does_not_import_torch() -> None:
    assert set(impasto.__all__) <= set(dir(impasto)) and impasto.ImpastoError is ImpastoError
    assert {"load", "train", "Pipeline", "Generated", "TrainConfig"} <= set(impasto.__all__)
    assert all(getattr(impasto, name) is not None for name in impasto.__all__)
    names: dict[str, Any] = {}
    exec("from impasto import *", names)
    assert set(impasto.__all__) <= set(names)
    with pytest.raises(AttributeError, match="pipeline"):
        impasto.pipeline  # noqa: B018
    code = "import sys, impasto as i; dir(i); i.GenerateConfig(style='a'); print({'torch', 'PIL'} & {*sys.modules})"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "set()\n"


# Progress of trainings


class FakeTerminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def trained(monkeypatch: pytest.MonkeyPatch, run: Path, *arguments: Any) -> None:
    """Call ``impasto.train`` with a training that only sends its last event."""

    def train(config: TrainConfig, listeners: tuple[Listener, ...], cancel: Callable[[], bool]) -> SimpleNamespace:
        for listener in listeners:
            listener(Finished(config.out, complete=True, seconds=3))
        return SimpleNamespace(folder=config.out)

    monkeypatch.setattr("impasto.api._train", train)
    assert impasto.train(TrainConfig(data="x", out=str(run), device="cpu"), *arguments).name == str(run)


def test_training_shows_its_progress_on_a_terminal(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = FakeTerminal()
    monkeypatch.setattr(sys, "stderr", stream)
    trained(monkeypatch, run)
    assert "Done in 3s" in stream.getvalue()
    events: list[object] = []
    for arguments in ((), [], [events.append]):
        stream.truncate(0)
        trained(monkeypatch, run, arguments)
        assert stream.getvalue() == ""
    assert len(events) == 1
    monkeypatch.setenv("RANK", "1")
    trained(monkeypatch, run)
    assert stream.getvalue() == ""


def test_training_shows_its_progress_in_a_notebook_only(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained(monkeypatch, run)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=1)))
    trained(monkeypatch, run)
    assert "Done in 3s" in capsys.readouterr().out
