"""Recipes of the built-in models: their commands parse, and the last one has the settings of the weights."""

import importlib
from pathlib import Path
from typing import Any

import pytest
import tyro

from impasto.built_in import FOLDER, built_in_models, read_card
from impasto.cli.flags import REGISTRY, with_new_names
from impasto.cli.main import STYLE, Command
from impasto.cli.train import Train, with_preset
from impasto.config import TrainConfig, settings_of
from impasto.settings import leaves
from impasto.training.run import Run, read_config

RECIPES = Path(__file__).parents[2] / "recipes"
CHANGED_SINCE = "made by version 0.1; its recipe has changed since"
"""In the cards of models of version 0.1."""
DIFFERENCES: dict[str, dict[str, tuple[Any, Any]]] = {
    "icons": {
        "minutes": (106.0, 105.0),
        "stage1_share": (0.99, 1.0),
        "prior_batch_size": (64, 256),
        "prior_learning_rate": (0.0003, 0.0008),
    },
    "painter": {
        "minutes": (92.0, 100.0),
        "stage1_share": (0.9, 1.0),
        "prior_learning_rate": (0.0003, 0.001),
    },
}
"""For each model of version 0.1: settings with their values in its config.json and in the recipe. A share of
stage 1 of 1 replaces stopping the run by hand after stage 1, so the settings of the prior do not act."""
FREE = ("data", "out", "init", "device", "preview_minutes", "save_minutes")
"""Settings that depend on the machine or on the names of folders."""


@pytest.fixture(params=built_in_models())
def name(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.syspath_prepend(str(RECIPES))
    return request.param


def commands(name: str) -> list[list[str]]:
    recipe = importlib.import_module(name).RECIPE
    return recipe.commands(Path("images"), Path("runs") / name, [phase.minutes for phase in recipe.phases])


def arguments(command: list[str]) -> list[str]:
    """The arguments of the command line of Impasto."""
    return command[command.index("impasto") + 1 :]


def trainings(name: str) -> list[list[str]]:
    return [arguments(command) for command in commands(name) if "impasto" in command]


def parsed(line: list[str]) -> TrainConfig:
    command = tyro.cli(Command, args=with_preset(line), config=STYLE, registry=REGISTRY)
    assert isinstance(command, Train)
    return settings_of(TrainConfig, command)


def test_every_phase_parses_with_the_flags_of_today(name: str) -> None:
    for line in trainings(name):
        assert with_new_names(line) == line, "an old name of a flag"
        assert parsed(line).resolution == read_card(name).resolution


def test_each_phase_starts_from_the_previous_one(name: str) -> None:
    lines = commands(name)
    outputs = [line[line.index("--out") + 1] for line in lines]
    assert outputs[-1] == str(Path("runs") / name) and len(set(outputs)) == len(outputs)
    for before, line in zip(outputs, lines[1:], strict=False):
        if "impasto" in line:
            assert parsed(arguments(line)).init == Path(before)
        else:
            assert (RECIPES / Path(line[1]).name).is_file() and line[2] == before


def test_missing_archives_are_named_in_one_line(name: str, tmp_path: Path) -> None:
    gather = importlib.import_module("gather").gather
    with pytest.raises(SystemExit, match=rf"error: .*{tmp_path}.* does not exist: DATA is the folder"):
        gather([tmp_path / f"{archive}.zip" for archive in importlib.import_module(name).RECIPE.archives], tmp_path)


def test_the_recipe_has_the_settings_of_the_weights(name: str) -> None:
    recipe, weights = parsed(trainings(name)[-1]), read_config(Run(FOLDER / name).config)
    different = {
        ".".join(leaf.path): (leaf.of(weights), leaf.of(recipe))
        for leaf in leaves(weights)
        if leaf.path[0] not in FREE and leaf.of(weights) != leaf.of(recipe)
    }
    assert different == (DIFFERENCES[name] if CHANGED_SINCE in read_card(name).trained else {})
