"""Built-in models: names, size of the package, model cards, and use in all commands."""

import json
from pathlib import Path

import pytest

from impasto import api
from impasto.built_in import FOLDER, built_in_models, model_name, read_card, resolve_model, whole_card
from impasto.cli.main import main
from impasto.config import GenerateConfig, flat
from impasto.create.recipe import read_recipe
from impasto.errors import ImpastoError
from impasto.text import TEXT_DIM

MAX_MEGABYTES = 80


def test_the_package_stays_small() -> None:
    assert "icons" in built_in_models()
    assert sum(file.stat().st_size for file in FOLDER.rglob("*") if file.is_file()) < MAX_MEGABYTES * 1e6


@pytest.mark.parametrize("name", built_in_models())
def test_cards_agree_with_the_model(name: str) -> None:
    card, model = read_card(name), api.load(name, "cpu")
    assert card.resolution == model.config.resolution
    assert card.scores and all(card.scores.values())
    text = whole_card(name)
    for collection in model.config.collections:
        assert collection in text, f"the card does not name {collection}"
    for words in (card.licence, *card.scores.values()):
        assert words in text
    assert model.styles is not None and len(model.styles) == len(model.config.collections)
    if model.config.text_dim:
        assert model.config.text_dim == TEXT_DIM
        assert (FOLDER / name / "captions.txt").stat().st_size > 0


def test_a_path_takes_precedence_over_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve_model(Path("icons")) == FOLDER / "icons"
    (tmp_path / "icons").mkdir()
    assert resolve_model(Path("icons")) == FOLDER / "icons", "a folder of images"
    (tmp_path / "icons" / "model.safetensors").touch()
    assert resolve_model(Path("icons")) == Path("icons")
    assert model_name(FOLDER / "icons") == "icons"
    assert model_name(Path("runs/icons")) == str(Path("runs/icons"))


def test_errors_for_unknown_names_list_the_models(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ImpastoError, match=r"no built-in model of that name.*icons"):
        api.load("nothing")
    assert main(["models", "nothing"]) == 2
    assert "icons" in capsys.readouterr().err
    assert main(["generate", "nothing", "--out", "new"]) == 2
    assert "icons" in capsys.readouterr().err


def test_models_lists_them_and_prints_a_card(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    shown = capsys.readouterr().out
    assert "icons" in shown and "128 px" in shown and read_card("icons").licence in shown
    assert main(["models", "icons"]) == 0
    assert capsys.readouterr().out.strip() == whole_card("icons").strip()


def test_recipes_name_a_built_in_model_by_its_name(tmp_path: Path) -> None:
    out, again = tmp_path / "new", tmp_path / "again"
    assert main(["generate", "icons", "-n", "1", "--steps", "1", "--style", "noto", "--out", str(out)]) == 0
    (image,) = out.glob("*.png")
    assert read_recipe(image).model == "icons"
    assert main(["generate", "--recipe", str(image), "--out", str(again)]) == 0
    assert next(again.glob("*.png")).read_bytes() == image.read_bytes()


def test_text_changes_the_image() -> None:
    model = api.load("icons", "cpu")
    apple, rocket = (
        next(model.generate(1, flat(GenerateConfig, style=("noto",), text=text, steps=1))).image.tobytes()
        for text in ("red apple", "rocket")
    )
    assert apple != rocket


def test_inspect_accepts_a_built_in_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "icons"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["fingerprint"] == api.load("icons", "cpu").fingerprint
    assert summary["training"]["resolution"] == 128
