"""The package states the licences of its code and of its weights, and passes on every notice."""

import re
import tomllib
from pathlib import Path

import pytest

from impasto.built_in import FOLDER, WEIGHTS, read_card

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SPDX_IDS = set(re.split(r" (?:AND|OR) ", PROJECT["license"]))
NOTICE = (ROOT / "NOTICE").read_text(encoding="utf-8")
MODELS = sorted(file.parent.name for file in FOLDER.glob(f"*/{WEIGHTS}"))


def spdx_id(licence: str) -> str:
    """The SPDX identifier of a licence as a card writes it: "CC BY-SA 4.0" is "CC-BY-SA-4.0"."""
    return licence.replace(" ", "-")


def packaged() -> set[Path]:
    """The files that license-files in pyproject.toml puts into the wheel."""
    return {file for pattern in PROJECT["license-files"] for file in ROOT.glob(pattern) if file.is_file()}


def test_the_code_and_the_weights_are_in_the_expression() -> None:
    assert {"Apache-2.0", *(spdx_id(read_card(name).licence) for name in MODELS)} == SPDX_IDS


@pytest.mark.parametrize("name", MODELS)
def test_the_licence_of_a_model_is_stated_and_its_text_is_packaged(name: str) -> None:
    licence = spdx_id(read_card(name).licence)
    assert licence in SPDX_IDS
    assert ROOT / "LICENSES" / f"{licence}.txt" in packaged()


@pytest.mark.parametrize("name", MODELS)
def test_the_notice_names_every_model_and_its_sources(name: str) -> None:
    (section,) = re.findall(rf"^Built-in model: {name}\n=+\n(.*?)(?=^\S[^\n]*\n=+\n|\Z)", NOTICE, re.M | re.S)
    assert read_card(name).licence in section
    assert "Licence:" in section and "Source:" in section


def test_every_pattern_matches_and_every_licence_file_is_packaged() -> None:
    for pattern in PROJECT["license-files"]:
        assert list(ROOT.glob(pattern)), f"{pattern} matches no file"
    assert {ROOT / "LICENSE", ROOT / "NOTICE", *(ROOT / "LICENSES").iterdir()} == packaged()


def test_the_texts_are_complete() -> None:
    texts = {file.stem: file.read_text(encoding="utf-8") for file in (ROOT / "LICENSES").iterdir()}
    assert texts.keys() >= SPDX_IDS
    assert texts["Apache-2.0"] == (ROOT / "LICENSE").read_text(encoding="utf-8")
    for number in range(1, 9):
        assert f"\nSection {number} -- " in texts["CC-BY-SA-4.0"]


def test_every_text_that_the_notice_refers_to_exists() -> None:
    referred = set(re.findall(r"LICENSES/[\w.-]+\.txt", NOTICE))
    assert referred == {f"LICENSES/{file.name}" for file in (ROOT / "LICENSES").iterdir()}
