"""Recipes: written to and read from PNG, WebP and JPEG; damaged ones are refused with the name of the file."""

import dataclasses
import json
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from impasto.config import FuseConfig, GenerateConfig, ImageConfig, StylizeConfig, flat
from impasto.create import recipe as module
from impasto.create.recipe import Recipe, made_by_impasto, read_recipe, save_image
from impasto.errors import ImpastoError

RECIPE = Recipe(
    model="runs/Füchse [1]",
    fingerprint="0123456789abcdef",
    settings=flat(GenerateConfig, seed=2**63 - 1, temperature=0.9, style=("noto:0.5", "日本/\udcff.png")),
    index=3,
    sources={"日本/\udcff.png": "fedcba9876543210"},
)
SUFFIXES = [".png", ".webp", ".jpg", ".jpeg"]


def example() -> Image.Image:
    return Image.fromarray(np.random.default_rng(1).integers(0, 256, (8, 9, 4), dtype=np.uint8))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("mode", ["RGBA", "RGB"])
def test_round_trip(tmp_path: Path, suffix: str, mode: str) -> None:
    path = tmp_path / f"a{suffix}"
    image = example().convert(mode)
    save_image(image, path, RECIPE)
    assert read_recipe(path) == RECIPE
    assert made_by_impasto(path)
    with Image.open(path) as written:
        assert written.size == image.size
        if suffix in (".png", ".webp"):
            assert written.mode == mode and np.array_equal(np.asarray(written), np.asarray(image))
        else:
            assert written.mode == "RGB"
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_exif_is_what_other_programs_expect(tmp_path: Path) -> None:
    save_image(example(), tmp_path / "a.jpg", RECIPE)
    with Image.open(tmp_path / "a.jpg") as image:
        comment = image.getexif().get_ifd(0x8769)[0x9286]
        assert image.getexif()[0x0131].startswith("Impasto ")
    assert comment.startswith(b"ASCII\0\0\0impasto {")


def test_png_has_an_international_text_chunk(tmp_path: Path) -> None:
    save_image(example(), tmp_path / "a.png", RECIPE)
    with Image.open(tmp_path / "a.png") as image:
        assert isinstance(image.info["impasto"], PngImagePlugin.iTXt)
        assert json.loads(image.info["impasto"])["settings"]["sampling"]["seed"] == 2**63 - 1


def test_jpeg_gets_white_behind_it(tmp_path: Path) -> None:
    save_image(Image.new("RGBA", (8, 8), (0, 0, 0, 0)), tmp_path / "a.jpg", RECIPE)
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.getpixel((4, 4)) == (255, 255, 255)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_recipe(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"foreign{suffix}"
    example().convert("RGB").save(path)
    with pytest.raises(ImpastoError, match=r"foreign.*holds no recipe"):
        read_recipe(path)
    assert not made_by_impasto(path)
    save_image(example(), path)
    assert made_by_impasto(path)
    with pytest.raises(ImpastoError, match="holds no recipe"):
        read_recipe(path)


def test_foreign_exif_comment_is_no_recipe(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b'ASCII\0\0\0{"seed": 1}'
    example().convert("RGB").save(tmp_path / "a.jpg", exif=exif)
    with pytest.raises(ImpastoError, match="holds no recipe"):
        read_recipe(tmp_path / "a.jpg")


def test_not_an_image(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(ImpastoError, match=r"text\.png is not a PNG, WebP or JPEG image"):
        read_recipe(tmp_path / "text.png")
    example().convert("RGB").save(tmp_path / "a.gif")
    with pytest.raises(ImpastoError, match="is not a PNG"):
        read_recipe(tmp_path / "a.gif")
    with pytest.raises(ImpastoError, match=r"cannot read .*none\.png: No such file"):
        read_recipe(tmp_path / "none.png")
    with pytest.raises(ImpastoError, match=r"cannot read .*: Is a directory"):
        read_recipe(tmp_path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_truncated_or_damaged_files_name_themselves(tmp_path: Path, suffix: str) -> None:
    """Truncated files, and files with a flipped byte, give the recipe or an error that names the file."""
    path = tmp_path / f"a{suffix}"
    save_image(example(), path, RECIPE)
    whole = path.read_bytes()
    damaged = [whole[:size] for size in range(0, min(len(whole), 900), 7)]
    damaged += [whole[:i] + bytes([whole[i] ^ 0xFF]) + whole[i + 1 :] for i in range(0, min(len(whole), 900), 5)]
    failures = 0
    for content in damaged:
        path.write_bytes(content)
        try:
            read_recipe(path)
        except ImpastoError as error:
            failures += 1
            assert str(path) in str(error)
    assert failures > 50


def write_text(path: Path, text: str) -> Path:
    chunks = PngImagePlugin.PngInfo()
    chunks.add_itxt("impasto", text)
    example().save(path, pnginfo=chunks)
    return path


def changed(**values: object) -> str:
    return json.dumps(json.loads(RECIPE.to_json()) | values)


def with_settings(part: str = "", **values: object) -> str:
    settings = json.loads(RECIPE.to_json())["settings"]
    return changed(settings=settings | ({part: settings[part] | values} if part else values))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "is not a JSON object"),
        (changed(format=True), "names no format"),
        (changed(format=3, impasto="9.0", other=1), r"format 3 of a newer Impasto"),
        (changed(format=0), "names no format"),
        (changed(other=1), "unknown keys"),
        ('{"format": 2}', "names no command"),
        ('{"format": 2, "command": "fuse"}', r"lacks \['content'"),
        (changed(command="train"), "names no command"),
        (changed(command=["generate"]), "names no command"),
        (changed(settings={}), r"lacks \['height', 'output'"),
        (changed(settings=3), "settings"),
        (changed(sources={"a": 1}), "sources"),
        (changed(index=-1), "index -1"),
        (changed(dtype="float8"), "dtype 'float8'"),
        (with_settings(other=1), "unknown keys"),
        (with_settings("sampling", other=1), "unknown keys"),
        (with_settings(sampling={"seed": 1}), r"lacks \['guidance'"),
        (with_settings(sampling=3), "expected an object for Sampling"),
        (with_settings(style=("a", 3)), "style: 3 is not a str"),
        (with_settings("sampling", seed="7"), "seed: '7' is not a int"),
        (with_settings("sampling", seed=-1), "seed -1"),
        (with_settings("sampling", steps=0), "steps 0"),
        (with_settings(width=65), "width 65"),
        (with_settings("output", tile="z"), "tile: 'z' is not a Repeat"),
        (with_settings("sampling", temperature=float("nan")), "temperature nan"),
        (with_settings("sampling", guidance=10**400), "too large"),
    ],
)
def test_bad_recipes(tmp_path: Path, text: str, message: str) -> None:
    path = write_text(tmp_path / "bad.png", text)
    with pytest.raises(ImpastoError, match=message) as caught:
        read_recipe(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        flat(GenerateConfig, height=64, width=96, palette="4", pixel_art=16),
        flat(StylizeConfig, style=("a",), strength=0.25, preserve_color=True),
        flat(FuseConfig, pixel=("a.png", "b.png:2"), level_weights=(1, 0.5, 0.25, 0)),
    ],
)
def test_every_job_has_a_recipe(tmp_path: Path, settings: ImageConfig) -> None:
    recipe = dataclasses.replace(RECIPE, settings=settings)
    save_image(example(), tmp_path / "a.png", recipe)
    assert read_recipe(tmp_path / "a.png") == recipe


def test_text_bomb(tmp_path: Path) -> None:
    """A small chunk that would inflate to far more than a recipe needs."""
    path = tmp_path / "bomb.png"
    chunks = PngImagePlugin.PngInfo()
    chunks.add(b"iTXt", b"impasto\0\1\0\0\0" + zlib.compress(b" " * 50_000_000, 9))
    example().save(path, pnginfo=chunks)
    assert path.stat().st_size < 100_000
    with pytest.raises(ImpastoError, match=r"bomb\.png"):
        read_recipe(path)


def test_uncompressed_text_above_the_limit(tmp_path: Path) -> None:
    path = write_text(tmp_path / "long.png", " " * (module.MAX_CHARACTERS + 1))
    with pytest.raises(ImpastoError, match=r"long\.png.*1000001 characters"):
        read_recipe(path)


def test_huge_size_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_image(example(), tmp_path / "a.png", RECIPE)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)
    assert read_recipe(tmp_path / "a.png") == RECIPE
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4)
    with pytest.raises(ImpastoError, match=r"a\.png"):
        read_recipe(tmp_path / "a.png")


def test_recipe_too_long_for_jpeg(tmp_path: Path) -> None:
    long = dataclasses.replace(RECIPE, settings=flat(GenerateConfig, style=("x" * 50,) * 2000))
    with pytest.raises(ImpastoError, match="format png"):
        save_image(example(), tmp_path / "a.jpg", long)
    assert not list(tmp_path.iterdir())
    save_image(example(), tmp_path / "a.png", long)
    assert read_recipe(tmp_path / "a.png") == long


def test_other_suffix(tmp_path: Path) -> None:
    with pytest.raises(ImpastoError, match=r"a\.gif: use one of \.png"):
        save_image(example(), tmp_path / "a.gif", RECIPE)
