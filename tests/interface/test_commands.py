import dataclasses
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

import impasto
from impasto import config
from impasto.cli import progress
from impasto.cli.main import main
from impasto.config import GenerateConfig, ModelConfig, TrainConfig, flat
from impasto.create.recipe import Recipe, made_by_impasto, read_recipe, save_image
from impasto.create.vectors import Latents
from impasto.data import Loaded
from impasto.errors import ImpastoError
from impasto.events import Listener, Warned

FINGERPRINT = "0123456789abcdef"


@dataclasses.dataclass(frozen=True)
class Generated:
    image: Image.Image
    recipe: Recipe


@dataclasses.dataclass(frozen=True)
class Reconstruction:
    name: str
    original: Image.Image
    prefixes: tuple[Image.Image, ...]


class FakeModel:
    """Generates noise that is a function of the settings."""

    config = ModelConfig(collections=("noto",))
    fingerprint = FINGERPRINT
    style_hash = "aa"

    def __init__(self, path: Path, device: str) -> None:
        self.path, self.device = path, device

    def generate(
        self, count: int, config: GenerateConfig, *, start: int = 0, on_step: Callable[[int, int], None]
    ) -> Iterator[Generated]:
        sources = {name: self.style_hash for name in config.style if ":" not in name}
        for index in range(start, start + count):
            if (index - start) % 2 == 0:
                on_step(config.sampling.steps, config.sampling.steps)
            recipe = Recipe(str(self.path), self.fingerprint, config, index, sources=sources)
            settings = dataclasses.replace(recipe, model="").to_json().encode()
            noise = np.random.default_rng(list(settings)).integers(0, 256, (32, 32, 4), np.uint8)
            yield Generated(Image.fromarray(noise), recipe)

    def again(self, recipe: Recipe) -> Generated:
        (generated,) = self.generate(1, recipe.settings, start=recipe.index, on_step=print)  # pyrefly: ignore
        return generated

    def read(self, images: Sequence[Path], listeners: Sequence[Listener]) -> Loaded:
        if any(path.name == "folder" for path in images):
            for listener in listeners:
                listener(Warned("skipped broken.png: truncated"))
        return Loaded(np.zeros((len(images), 4, 8, 8), np.uint8), tuple(map(str, images)), {})

    def reconstruct(self, images: Loaded, levels: bool = False) -> Iterator[Reconstruction]:
        for path in images.names:
            prefixes = tuple(Image.new("RGB", (32, 32), c) for c in ("red", "lime", "blue", "yellow"))
            yield Reconstruction(path, Image.new("RGB", (32, 32), "black"), prefixes)

    def encode(self, images: Loaded) -> Latents:
        names = images.names
        return Latents(names, {"style": np.ones((len(names), 3), np.float32)}, self.fingerprint)

    def decode(self, latents: Latents) -> Iterator[tuple[str, Image.Image]]:
        for name, value in zip(latents.names, latents.levels["style"], strict=True):
            yield name, Image.new("RGB", (4, 4), (int(value[0]), 0, 0))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A run folder that a fake API loads; the working directory is its parent."""
    module = ModuleType("impasto.api")

    def load(path: Path, device: str = "auto", dtype: str = "auto") -> FakeModel:
        if not path.is_dir():
            raise ImpastoError(f"{path} is not a run.")
        return FakeModel(path, device)

    module.load = load
    monkeypatch.setitem(sys.modules, "impasto.api", module)
    monkeypatch.setattr(impasto, "api", module, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    return Path("run")


def touch(*names: str) -> None:
    """Empty files in place of images, which the fake model does not read."""
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def records(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """The JSON objects on stdout, one per line."""
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def call(line: str) -> int:
    """The exit code of ``impasto line``."""
    return main(line.split())


def error_of(line: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The only line on stderr of ``line``, which fails."""
    capsys.readouterr()
    assert call(line) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1 and captured.out == ""
    return captured.err


def same(a: Path, b: Path) -> bool:
    with Image.open(a) as first, Image.open(b) as second:
        return first.mode == second.mode and np.array_equal(np.asarray(first), np.asarray(second))


def test_generate_writes_numbered_images_with_recipes(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = "generate run -n 3 --out new --seed 7 --steps 4 --temperature 0.5 --guidance 0 --internal-guidance 2"
    assert call(f"{line} --style noto:0.5 cat.png") == 0
    assert sorted(p.name for p in Path("new").iterdir()) == [f"seed7-000{i}.png" for i in range(3)]
    assert read_recipe(Path("new/seed7-0001.png")) == Recipe(
        model="run",
        fingerprint=FINGERPRINT,
        settings=flat(
            GenerateConfig,
            seed=7,
            steps=4,
            temperature=0.5,
            guidance=0.0,
            internal_guidance=2.0,
            style=("noto:0.5", "cat.png"),
        ),
        index=1,
        sources={"cat.png": "aa"},
    )
    assert capsys.readouterr().out == "3 images in new\n"


def test_count_defaults_to_16_and_start_continues(run: Path) -> None:
    assert call("generate run --out new") == 0
    assert call("generate run --out new --start 16 --count 2") == 0
    assert sorted(p.name for p in Path("new").iterdir()) == [f"seed0-{i:04}.png" for i in range(18)]
    assert call("generate run --out alone --start 15 -n 1") == 0
    assert same(Path("new/seed0-0015.png"), Path("alone/seed0-0015.png"))


@pytest.mark.parametrize(("format", "suffix"), [("png", "png"), ("webp", "webp"), ("jpeg", "jpg")])
@pytest.mark.parametrize("name_run", [True, False])
def test_recipe_reproduces_the_image(run: Path, format: str, suffix: str, name_run: bool) -> None:
    assert call(f"generate run -n 3 --out new --seed 9 --format {format} --style cat.png") == 0
    before = Path(f"new/seed9-0002.{suffix}")
    line = f"generate {'run' if name_run else ''} --recipe {before} --out again --format {format}"
    assert call(line) == 0
    (after,) = Path("again").iterdir()
    assert after.name == before.name and same(before, after)
    assert after.read_bytes() == before.read_bytes()


def test_recipe_of_a_moved_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("generate run -n 1 --out new") == 0
    run.rename("moved")
    assert "its model 'run' does not exist" in error_of("generate --recipe new/seed0-0000.png --out again", capsys)
    assert call("generate moved --recipe new/seed0-0000.png --out again") == 0
    assert same(Path("new/seed0-0000.png"), Path("again/seed0-0000.png"))


@pytest.mark.parametrize(
    "flag",
    [
        "-n 2",
        "--seed 1",
        "--style a",
        "--start 3",
        "--steps 5",
        "--temperature 2",
        "--guidance 3",
        "--internal-guidance 3",
        "--grid",
        "--dtype float32",
    ],
)
def test_recipe_refuses_the_flags_that_it_contains(run: Path, flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    name = flag.split()[0]
    message = error_of(f"generate run --out new --recipe x.png {flag}", capsys)
    assert message == f"error: {name} cannot be used with --recipe: the recipe decides it; omit {name}.\n"


@pytest.mark.parametrize(
    "flag",
    [
        "-n 0",
        "-n -3",
        "--steps 0",
        "--steps 1001",
        "--temperature -1.0",
        "--temperature nan",
        "--guidance -0.5",
        "--guidance inf",
        "--internal-guidance -1.0",
        "--seed -1",
        f"--seed {2**63}",
        "--start -1",
    ],
)
def test_numbers_out_of_range_name_their_flag(run: Path, flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert error_of(f"generate run --out new {flag}", capsys).startswith(f"error: {flag}: use a ")


def test_generate_needs_a_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "RUN is missing" in error_of("generate --out new", capsys)
    assert "nowhere is not a run" in error_of("generate nowhere --out new", capsys)
    Path("file").touch()
    assert "--out file is a file" in error_of("generate run --out file", capsys)


def test_skipped_files_are_reported(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("folder").mkdir()
    assert call("reconstruct run folder --out seen") == 0
    assert call("encode run folder --out v.npz") == 0
    assert capsys.readouterr().err.count("warning: skipped broken.png: truncated\n") == 2


def test_foreign_files_are_not_overwritten(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("new").mkdir()
    mine = Path("new/seed0-0001.png")
    Image.new("RGB", (2, 2)).save(mine)
    before = mine.read_bytes()
    assert "seed0-0001.png exists" in error_of("generate run --out new", capsys)
    assert [*Path("new").iterdir()] == [mine] and mine.read_bytes() == before
    Path("cats").mkdir()
    Image.new("RGB", (2, 2)).save("cats/tom.png")
    assert "tom.png exists" in error_of("reconstruct run cats/tom.png --out cats", capsys)
    # Files that Impasto wrote may be overwritten.
    mine.unlink()
    assert call("generate run --out new --grid") == call("generate run --out new --grid") == 0


def test_grid(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("generate run -n 5 --out new --grid --style noto:1") == 0
    assert made_by_impasto(Path("new/grid.png"))
    with Image.open("new/grid.png") as sheet:
        values = np.asarray(sheet.convert("RGB"))
    # 5 images in rows of 2: the last row has one and then white; the label is left of the first row.
    cell, gap = 128, 4
    left = sheet.width - 2 * (cell + gap)
    assert sheet.height == gap + 3 * (cell + gap) and left > 30
    assert (values[gap : gap + cell, : left - gap] < 128).any()
    assert (values[gap + cell :, : left - gap] == 255).all()
    assert (values[-cell:, left + cell :] == 255).all()
    assert (values[-cell:, left : left + cell] != 255).any()
    assert "at most 400" in error_of("generate run -n 401 --out new --grid", capsys)


@pytest.mark.parametrize(("flag", "num_cells"), [("", 2), ("--levels", 5)])
def test_reconstruct(run: Path, flag: str, num_cells: int) -> None:
    touch("a/x.png", "b/x.png")
    assert call(f"reconstruct run a/x.png b/x.png --out seen {flag}") == 0
    assert sorted(p.name for p in Path("seen").iterdir()) == ["x-2.png", "x.png"]
    with Image.open("seen/x.png") as sheet:
        assert sheet.width == 4 + num_cells * (192 + 4)
        middles = [sheet.getpixel((4 + i * 196 + 96, sheet.height - 90)) for i in range(num_cells)]
    black, red, lime, blue, yellow = (0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)
    assert middles == ([black, red, lime, blue, yellow] if flag else [black, yellow])


def test_images_are_needed(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "IMAGES is missing" in error_of("reconstruct run --out seen", capsys)
    assert "IMAGES is missing" in error_of("encode run --out v.npz", capsys)


def test_encode_then_decode(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    touch("a.png", "../b.png")
    assert call("encode run a.png ../b.png --out v.npz") == 0
    assert capsys.readouterr().out == "v.npz: 2 images, style 3\n"
    latents = Latents.load(Path("v.npz"))
    assert latents.names == ("a.png", "../b.png")
    dataclasses.replace(latents, levels={"style": np.full((2, 3), 77, np.float32)}).save(Path("w.npz"))
    assert call("decode run w.npz --out decoded") == 0
    assert sorted(p.name for p in Path("decoded").iterdir()) == ["a.png", "b.png"]
    with Image.open("decoded/b.png") as image:
        assert image.getpixel((0, 0)) == (77, 0, 0)


def test_vectors_of_another_model(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Latents(("a",), {"style": np.zeros((1, 3), np.float32)}, "f" * 16).save(Path("v.npz"))
    assert "another model" in error_of("decode run v.npz --out decoded", capsys)
    assert not Path("decoded").exists()


def test_encode_checks_its_out_before_it_works(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "kept in .npz or .parquet" in error_of("encode nowhere a.png --out v.csv", capsys)
    assert "is a folder" in error_of("encode nowhere a.png --out run", capsys)


def test_inspect_an_image(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evil = Recipe("\x1b[2J\x9b\udcff", FINGERPRINT, flat(GenerateConfig, style=("日本",)))
    save_image(Image.new("RGB", (2, 2)), Path("a b.png"), evil)
    assert main(["inspect", "a b.png"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == json.loads(evil.to_json())
    assert "日本" in captured.out and "\x1b" not in captured.out and "\x9b" not in captured.out
    assert captured.err == "reproduce: impasto generate --recipe 'a b.png' --out again\n"


def test_inspect_a_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "run"]) == 0
    assert "training" not in json.loads(capsys.readouterr().out)
    settings = TrainConfig(Path("pics"), Path("run"), seed=5)
    (run / "config.json").write_text(config.to_json(settings))
    assert "its training has not saved yet. Wait for" in error_of("inspect run", capsys)
    (run / "model.safetensors").touch()
    assert main(["inspect", "run"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["fingerprint"] == FINGERPRINT and summary["model"]["collections"] == ["noto"]
    assert summary["training"]["seed"] == 5 and summary["training"]["data"] == "pics"
    (run / "config.json").write_text("{}}")
    assert "cannot read run/config.json" in error_of("inspect run", capsys)


def test_progress_lines_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    times = iter(range(0, 1000, 4))
    counted = progress.Progress("decoding", 6, clock=lambda: next(times))
    counted.on_step(1, 2)
    assert list(counted.over("abcdef")) == list("abcdef")
    # Each image takes four seconds.
    assert capsys.readouterr().err.splitlines() == ["decoding: 3 of 6", "decoding: 6 of 6"]


def test_progress_bar_on_a_terminal(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert call("generate run -n 4 --out new") == 0
    text = capsys.readouterr().err
    assert "generating" in text and "4/4" in text and "step 8/8" in text
    assert len([*Path("new").iterdir()]) == 4


def test_out_defaults_to_one_folder(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    touch("a.png")
    assert call("generate run -n 1") == call("reconstruct run a.png") == 0
    assert sorted(p.name for p in Path("pictures").iterdir()) == ["a.png", "seed0-0000.png"]
    assert capsys.readouterr().out == "pictures/seed0-0000.png\npictures/a.png\n"
    assert call("generate run -n 1 -o new") == 0
    assert Path("new/seed0-0000.png").exists()


@pytest.mark.parametrize("line", ["--json generate run -n 2 --seed 3", "generate --json run -n 2 --seed 3 --quiet"])
def test_results_as_json(run: Path, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(line) == 0
    lines = records(capsys)
    assert [(line["path"], line["seed"], line["index"]) for line in lines] == [
        ("pictures/seed3-0000.png", 3, 0),
        ("pictures/seed3-0001.png", 3, 1),
    ]
    assert all(line["seconds"] >= 0 for line in lines)


def test_json_of_the_other_commands(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    touch("a.png")
    for line, keys in {
        "reconstruct run a.png": {"path", "image", "seconds"},
        "encode run a.png -o v.npz": {"path", "images", "levels"},
        "decode run v.npz": {"path", "name", "seconds"},
        "inspect run": {"run", "fingerprint", "model"},
        "styles run": {"style"},
        "models": {"name", "about", "resolution", "megabytes", "licence", "styles"},
    }.items():
        assert call(f"{line} --json") == 0
        lines = records(capsys)
        assert lines and all(set(line) == keys for line in lines), line


def test_quiet_prints_results_and_warnings_only(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    Path("folder").mkdir()
    assert call("--quiet reconstruct run folder") == 0
    captured = capsys.readouterr()
    assert captured.out == "pictures/folder.png\n" and captured.err == "warning: skipped broken.png: truncated\n"
    assert call("generate run -n 1 --clarity 2 --quiet") == 0
    assert capsys.readouterr().err == ""
    assert call("models --quiet") == 0
    assert capsys.readouterr().err == ""


def test_the_floating_point_type_is_that_of_the_model(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[tuple[str, str]] = []
    load = impasto.api.load
    monkeypatch.setattr(impasto.api, "load", lambda path, *on: loaded.append(on) or load(path))
    assert call("generate run -n 1 --dtype bfloat16 --device cpu") == call("generate run -n 1") == 0
    assert loaded == [("cpu", "bfloat16"), ("auto", "auto")]


def test_missing_inputs_are_named_before_the_model_is_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("reconstruct nowhere", "encode nowhere -o v.npz", "mix nowhere --style a", "caption nowhere"):
        name, *rest = command.split()
        message = error_of(" ".join([name, rest[0], "no.png", *rest[1:]]), capsys)
        assert message == "error: no.png does not exist: use images, folders or archives (.zip, .tar).\n"
    assert "no.png does not exist: use an image." in error_of("vary nowhere no.png", capsys)


def test_styles_of_a_model(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("styles run") == 0
    assert capsys.readouterr().out == "noto\n"
    assert call("styles run -n 3 --seed 2 --out sheets") == 0
    assert capsys.readouterr().out == "noto\nsheets/styles.png\n"
    with Image.open("sheets/styles.png") as sheet:
        height = 26 + 2 * 196  # three samples in two rows, below the name
        assert sheet.size == (4 + height + 4, 4 + height + 4)
    assert error_of("styles run --seed 2", capsys) == (
        "error: --seed needs --out, the folder for the sheet: add --out, or omit --seed.\n"
    )
    assert "-n 17: use a whole number from 1 to 16" in error_of("styles run -n 17 --out sheets", capsys)


def test_the_sheet_of_many_styles_is_about_as_wide_as_high_with_a_label_per_style(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = tuple(f"painter number {number}" for number in range(91))
    monkeypatch.setattr(FakeModel, "config", ModelConfig(collections=names))
    assert call("styles run --out sheets --quiet") == 0
    with Image.open("sheets/styles.png") as sheet:
        values = np.asarray(sheet.convert("L")).astype(int)
    cell = 26 + 196
    assert values.shape == (4 + 10 * (cell + 4), 4 + 10 * (cell + 4))
    left = (cell - 200) // 2  # of a block in its square cell
    labels = [
        values[top + 4 : top + 22, x + left : x + left + 200]
        for top in range(4, 4 + 10 * (cell + 4), cell + 4)
        for x in range(4, 4 + 10 * (cell + 4), cell + 4)
    ]
    assert [(label < 128).any() for label in labels] == [True] * 91 + [False] * 9
    assert not np.array_equal(labels[0], labels[1])


def test_another_result_gets_a_number_and_the_same_one_its_own_name(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("generate run -n 3 --grid") == 0
    assert capsys.readouterr().out == "3 images in pictures\n"
    before = {path: path.read_bytes() for path in Path("pictures").iterdir()}
    assert call("generate run -n 3 --grid") == 0
    assert capsys.readouterr().out == "3 images in pictures\n"
    assert call("generate run -n 3 --grid --steps 4") == 0
    assert capsys.readouterr().out == "3 images in pictures: seed0-0000-2.png to seed0-0002-2.png\n"
    assert call("generate run -n 3 --grid --steps 5 --json") == call("generate run -n 3 --grid --steps 4 --json") == 0
    names = [f"seed0-000{index}-{{}}.png" for index in range(3)] + ["grid-{}.png"]
    expected = [f"pictures/{name.format(number)}" for number in (3, 2) for name in names]
    assert [line["path"] for line in records(capsys)] == expected
    assert len([*Path("pictures").iterdir()]) == 3 * 4
    assert {path: path.read_bytes() for path in before} == before


def test_one_other_image_numbers_the_whole_batch(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("generate run -n 1 --start 2 --steps 4") == 0
    assert call("generate run -n 3") == 0
    assert capsys.readouterr().out.endswith("3 images in pictures: seed0-0000-2.png to seed0-0002-2.png\n")
    Image.new("RGB", (2, 2)).save("pictures/seed0-0001-3.png")  # not by Impasto: the number is not free
    assert call("generate run -n 2 --steps 4") == 0 and call("generate run -n 3 --steps 5") == 0
    assert capsys.readouterr().out.endswith("3 images in pictures: seed0-0000-4.png to seed0-0002-4.png\n")
    assert call("generate run -n 1 --start 2 --seed 1 -o a") == 0
    Path("a/seed1-0002.png").rename("pictures/seed0-0002.png")
    assert call("generate --recipe pictures/seed0-0002.png") == 0
    assert capsys.readouterr().out.endswith("pictures/seed0-0002.png\n")


def test_commands_of_the_same_names_do_not_overwrite_each_other(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    touch("a.png", "b.png")
    assert call("reconstruct run a.png b.png") == 0
    sheet = Path("pictures/a.png").read_bytes()
    assert call("encode run a.png b.png -o v.npz") == call("decode run v.npz") == call("decode run v.npz") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "2 sheets in pictures" and lines[2:] == ["2 images in pictures: a-2.png to b-2.png"] * 2
    assert call("reconstruct run a.png --levels --json") == call("reconstruct run a.png --json") == 0
    assert [line["path"] for line in records(capsys)] == ["pictures/a-3.png", "pictures/a.png"]
    assert Path("pictures/a.png").read_bytes() == sheet
    for seed in (0, 1, 0):
        assert call(f"styles run --seed {seed} --out pictures --json") == 0
    assert [line["path"] for line in records(capsys) if "path" in line] == [
        f"pictures/{name}" for name in ("styles.png", "styles-2.png", "styles.png")
    ]


def test_models_are_listed_in_short(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert call("models") == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert len(lines) < 16 and max(map(len, lines)) <= 100
    assert "16 styles: circle-flags, crawl," in captured.out and "more: impasto styles painter" in captured.out
    assert "PSNR" not in captured.out and "impasto models NAME" in captured.err
    assert call("models icons") == 0
    assert "PSNR" in capsys.readouterr().out
