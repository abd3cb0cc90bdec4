"""`impasto fuse` on a model of random weights: weights of the sources, sizes, order, recipes, and refusals."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import impasto
from images import noise, write_noise
from impasto.api import Pipeline
from impasto.cli.main import main
from impasto.config import FuseConfig, flat
from impasto.create.fuse import Fuser
from impasto.create.recipe import read_recipe
from impasto.model.encoder import Posterior


@pytest.fixture
def model(run: Path) -> Pipeline:
    """The model of that run, next to three images."""
    for seed, name in enumerate("abc"):
        noise(40, 40, mode="RGBA", seed=seed).save(f"{name}.png")
    return impasto.load(run, "cpu")


def fused(model: Pipeline, **settings: object) -> Posterior:
    """The posterior of the sources of a fusion."""
    posteriors: list[Posterior] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            Fuser, "__call__", lambda self, index, on_step=None: posteriors.append(self.condition.posterior) or noise()
        )
        next(iter(model.fuse(flat(FuseConfig, **settings))))  # pyrefly: ignore
    return posteriors[0]


def test_one_image_three_times_is_its_own_posterior(model: Pipeline) -> None:
    posterior = fused(model, pixel=("a.png",), orientation=("a.png",), texture=("a.png",), conditioning_scale=1.0)
    whole = next(iter(model.whole_images(Path("a.png"))))
    pixels = np.pad(whole.pixels[:3], ((0, 0), (12, 12), (12, 12)), constant_values=255)
    alpha = np.pad(whole.pixels[3:], ((0, 0), (12, 12), (12, 12)))
    image = torch.from_numpy(np.concatenate([pixels, alpha])[None]).float() / 255
    for a, b in zip(posterior, model.network.autoencoder.posterior(image), strict=True):
        torch.testing.assert_close(a.mean, b.mean, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(a.log_variance, b.log_variance, atol=1e-5, rtol=1e-4)


def test_colours_of_others_act_on_all_levels_and_texture_on_the_style_alone(model: Pipeline) -> None:
    structure = fused(model, orientation=("b.png",))
    two = fused(model, orientation=("b.png",), texture=("c.png",))
    three = fused(model, pixel=("a.png",), orientation=("b.png",), texture=("c.png",))
    assert not torch.equal(structure.style.mean, two.style.mean) and not torch.equal(two.style.mean, three.style.mean)
    for level, (a, b, c) in enumerate(zip(structure, two, three, strict=True)):
        assert level == 0 or torch.equal(a.mean, b.mean)
        assert not torch.equal(b.mean, c.mean)
        assert (c.log_variance < b.log_variance).all(), "one expert more is more precise"
    texture = fused(model, texture=("c.png",))
    assert (texture.style.mean != 0).any()
    assert all((level.mean == 0).all() and (level.log_variance == 0).all() for level in texture.maps)
    colours = fused(model, pixel=("a.png",))
    assert all((level.mean != 0).any() for level in colours)


def test_order_changes_nothing_weights_and_levels_do(model: Pipeline) -> None:
    one = fused(model, orientation=("a.png:2", "b.png"), texture=("c.png", "a.png"))
    other = fused(model, orientation=("b.png", "a.png:2"), texture=("a.png", "c.png"))
    assert all(torch.equal(a.mean, b.mean) for a, b in zip(one, other, strict=True))
    heavier = fused(model, orientation=("a.png:9", "b.png"), texture=("c.png", "a.png"))
    assert not torch.equal(one.maps[0].mean, heavier.maps[0].mean)
    coarse = fused(model, orientation=("a.png",), level_weights=(1.0, 1.0, 0.0, 0.0))
    assert (coarse.maps[0].mean != 0).any() and (coarse.maps[1].mean == 0).all() and (coarse.maps[2].mean == 0).all()
    free, trusting = (fused(model, orientation=("a.png",), conditioning_scale=scale).maps[0] for scale in (1e-9, 1.0))
    ignored = fused(model, orientation=("a.png",), conditioning_scale=0.0)
    assert all((level.mean == 0).all() and (level.log_variance == 0).all() for level in ignored)
    assert (free.log_variance > trusting.log_variance).all()


def test_a_style_is_shared_by_all_of_it(model: Pipeline) -> None:
    alone = fused(model, orientation=("b.png",))
    styled = fused(model, orientation=("b.png",), style=("a",))
    mine = fused(model, orientation=("b.png",), style=("c.png",))
    assert not torch.equal(alone.style.mean, styled.style.mean) and not torch.equal(styled.style.mean, mine.style.mean)
    assert all(torch.equal(a.mean, b.mean) for a, b in zip(alone.maps, styled.maps, strict=True))


def test_variations_with_recipes_at_the_size_of_the_structure(model: Pipeline) -> None:
    noise(70, 50).save("wide.png")
    command = "fuse run --pixel a.png --orientation wide.png --texture b.png c.png:3 --steps 2 --device cpu"
    assert main([*command.split(), "-n", "2", "--out", "x.png"]) == 0
    assert sorted(p.name for p in Path().glob("x*")) == ["x-0000.png", "x-0001.png"]
    with Image.open("x-0000.png") as first, Image.open("x-0001.png") as second:
        assert first.size == (70, 50) and first.tobytes() != second.tobytes()
    recipe = read_recipe(Path("x-0001.png"))
    expected = flat(FuseConfig, pixel=("a.png",), orientation=("wide.png",), texture=("b.png", "c.png:3"), steps=2)
    assert (
        recipe.settings == expected
        and recipe.index == 1
        and set(recipe.sources)
        == {
            "a.png",
            "b.png",
            "c.png",
            "wide.png",
        }
    )
    assert main("generate --recipe x-0001.png --out again --device cpu".split()) == 0
    with Image.open("x-0001.png") as first, Image.open("again/x-0001.png") as second:
        assert first.tobytes() == second.tobytes()
    write_noise(Path("several"), "one.png", "two.png")
    assert main("fuse run --orientation wide.png several --out y.png --steps 1 --device cpu".split()) == 0
    with Image.open("y.png") as image:
        assert image.size == (70, 50)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--out x.png", "nothing to fuse"),
        ("--pixel nowhere.png --out x.png", "nowhere.png"),
        ("--pixel broken.png --out x.png", "broken.png"),
        ("--pixel a.png:-1 --out x.png", "from 0"),
        ("--pixel a.png:nan --out x.png", "from 0"),
        ("--pixel a.png:0 --out x.png", "all weights are 0"),
        ("--pixel a.png --conditioning-scale 2 --out x.png", "--conditioning-scale 2"),
        ("--pixel a.png --level-weights 1 1 1 -1 --out x.png", "--level-weights -1"),
        ("--pixel a.png --out x.gif", "x.gif: use one of"),
        ("--pixel a.png --out mine.png", "mine.png exists"),
        ("--pixel a.png -n 0 --out x.png", "-n 0"),
    ],
)
def test_bad_input_is_named(model: Pipeline, arguments: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("broken.png").write_bytes(b"no image")
    noise().save("mine.png")
    assert main(["fuse", "run", *arguments.split(), "--steps", "1", "--device", "cpu"]) == 2
    assert message in capsys.readouterr().err
    assert not Path("x.png").exists()


def test_variations_keep_the_levels_that_are_not_resampled(model: Pipeline, capsys: pytest.CaptureFixture[str]) -> None:
    command = "vary run a.png --steps 2 --device cpu"
    assert main([*command.split(), "-n", "2", "--resample", "style", "stride8", "--out", "new"]) == 0
    assert sorted(p.name for p in Path("new").iterdir()) == ["a-0000.png", "a-0001.png"]
    settings = read_recipe(Path("new/a-0000.png")).settings
    assert isinstance(settings, FuseConfig) and settings.level_weights == (0, 1, 1, 0)
    assert settings.pixel == settings.orientation == settings.texture == ("a.png",)
    assert main([*command.split(), "--resample", "stride4", "--out", "new"]) == 2
    assert "--resample stride4: use one of style" in capsys.readouterr().err


def test_the_way_from_one_image_to_another_has_both_ends(model: Pipeline) -> None:
    assert main("interpolate run a.png b.png -n 3 --steps 2 --device cpu --conditioning-scale 1 --out way".split()) == 0
    assert sorted(p.name for p in Path("way").iterdir()) == ["0000.png", "0001.png", "0002.png", "strip.png"]
    for end, name in (("0000", "a.png"), ("0002", "b.png")):
        alone = flat(
            FuseConfig,
            pixel=(name,),
            orientation=(name,),
            texture=(name,),
            conditioning_scale=1.0,
            steps=2,
        )
        (expected,) = model.fuse(alone)
        with Image.open(f"way/{end}.png") as end_image:
            assert abs(np.asarray(end_image).astype(int) - np.asarray(expected.image)).max() <= 1
    settings = read_recipe(Path("way/0001.png")).settings
    assert isinstance(settings, FuseConfig) and settings.pixel == ("a.png:0.5", "b.png:0.5")


def test_sheets_of_styles_and_of_strengths(model: Pipeline, capsys: pytest.CaptureFixture[str]) -> None:
    command = "mix run a.png b.png --steps 1 --device cpu"
    assert main([*command.split(), "--style", "a", "c.png", "--out", "sheet.png"]) == 0
    with Image.open("sheet.png") as sheet:
        assert sheet.width > 3 * 128 and 2 * 128 < sheet.height < 3 * 128
    assert main([*command.split(), "--style", "a", "--strengths", "0", "0.5", "1", "--out", "strip.png"]) == 0
    with Image.open("strip.png") as strip:
        assert strip.width > 4 * 128
    assert main([*command.split(), "--style", "a", "--strengths", "2", "--out", "x.png"]) == 2
    assert "--strength 2" in capsys.readouterr().err
    assert main([*command.split(), "--out", "x.png"]) == 2
    assert "--style is missing" in capsys.readouterr().err


def test_without_a_name_the_images_go_to_the_default_folder(
    model: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main("fuse run --orientation a.png --steps 1 --device cpu --json".split()) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["path"], record["seed"], record["index"]) == ("pictures/fused.png", 0, 0)
    assert main("fuse run --orientation a.png --steps 1 --device cpu -n 2 -o new".split()) == 0
    assert capsys.readouterr().out == "2 images: new/fused-0000.png to new/fused-0001.png\n"
    assert main("mix run a.png --style a --steps 1 --device cpu".split()) == 0
    assert capsys.readouterr().out == "pictures/sheet.png\n"
    assert main("fuse run --orientation no.png --device cpu".split()) == 2
    assert "no.png does not exist: check the path. Images are read from files" in capsys.readouterr().err


def test_the_floating_point_type_is_in_the_recipe(model: Pipeline) -> None:
    assert main("fuse run --orientation a.png --steps 1 --device cpu --dtype bfloat16 -o x.png".split()) == 0
    assert read_recipe(Path("x.png")).dtype == "bfloat16"


def test_several_images_are_varied_and_folders_are_mixed(model: Pipeline, capsys: pytest.CaptureFixture[str]) -> None:
    write_noise(Path("other"), "a.png", "b.png")
    assert main("vary run a.png other/a.png -n 2 --steps 1 --device cpu".split()) == 0
    assert capsys.readouterr().out == "4 images in pictures\n"
    names = sorted(p.name for p in Path("pictures").iterdir())
    assert names == ["a-0000.png", "a-0001.png", "a-2-0000.png", "a-2-0001.png"]
    settings = read_recipe(Path("pictures/a-2-0001.png")).settings
    assert isinstance(settings, FuseConfig) and settings.pixel == ("other/a.png",)
    assert main("mix run other c.png --style a --steps 1 --device cpu --json".split()) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 3
    styles = [f"a:{weight}" for weight in range(1, 135)]
    assert main(["mix", "run", "other", "c.png", "--style", *styles, "--device", "cpu"]) == 2
    assert "a sheet of 402 images: use at most 400." in capsys.readouterr().err


def test_other_fusions_get_a_number_and_the_same_ones_their_own_name(
    model: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    def paths(line: str) -> list[str]:
        capsys.readouterr()
        assert main(f"{line} --device cpu --json".split()) == 0
        return [json.loads(text)["path"] for text in capsys.readouterr().out.splitlines()]

    fuse, vary = "fuse run --orientation a.png -n 2 -o x.png --steps", "vary run a.png b.png -n 2 --steps"
    palette = "interpolate run a.png b.png --palette 4 --steps 1 -n"
    mix = "mix run a.png --style a -o sheet.jpg --steps"
    wanted = ["x-0000.png", "x-0001.png"]
    numbered = [name.replace(".png", "-2.png") for name in wanted]
    assert [paths(f"{fuse} {steps}") for steps in (1, 2, 1, 2)] == [wanted, numbered] * 2
    noise(40, 40, mode="RGBA", seed=9).save("a.png")
    assert paths(f"{fuse} 1") == [name.replace("-2", "-3") for name in numbered], "the source has changed"

    wanted = [f"pictures/{name}.png" for name in ("a-0000", "a-0001", "b-0000", "b-0001")]
    assert paths(f"{vary} 1") == wanted
    noise(40, 40, mode="RGBA", seed=8).save("a.png")
    expected = [name.replace(".png", "-2.png") if "/a" in name else name for name in wanted]
    assert paths(f"{vary} 1") == expected, "each input has its own number"

    assert paths(f"{palette} 3") == [f"pictures/{name}.png" for name in ("0000", "0001", "0002", "strip")]
    assert paths(f"{palette} 2") == [f"pictures/{name}.png" for name in ("0000-2", "0001-2", "strip-2")]
    assert paths(f"{palette} 3") == [f"pictures/{name}.png" for name in ("0000", "0001", "0002", "strip")]
    assert [paths(f"{mix} {steps}") for steps in (1, 2, 1)] == [["sheet.jpg"], ["sheet-2.jpg"], ["sheet.jpg"]]
