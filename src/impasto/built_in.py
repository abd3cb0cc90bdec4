"""The models that come inside the package, found by name: each is a folder like a run's, with a card."""

import json
from dataclasses import dataclass
from pathlib import Path

from impasto.errors import ImpastoError

FOLDER = Path(__file__).parent / "models"
WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Card:
    """The facts of a model in short; the whole card is the README.md beside it."""

    name: str
    about: str
    resolution: int
    megabytes: float
    licence: str
    data: str
    command: str
    """What trained it."""
    trained: str
    """How long, and on what."""
    scores: dict[str, str]
    """What `impasto evaluate` found, by name."""


def built_in_models() -> tuple[str, ...]:
    """Their names, sorted."""
    return tuple(sorted(file.parent.name for file in FOLDER.glob(f"*/{WEIGHTS}")))


def is_built_in(model: Path) -> bool:
    """Whether a built-in model is meant: a folder of images that happens to have the name does not matter."""
    is_model = model.is_file() or (model / WEIGHTS).is_file() or (model / "config.json").is_file()
    return not is_model and str(model) in built_in_models()


def located(model: Path) -> Path:
    """``model`` itself where there is one, else the built-in model of that name.

    Raises ImpastoError where there is neither, naming those there are.
    """
    if is_built_in(model):
        return FOLDER / model
    if model.exists():
        return model
    raise ImpastoError(
        f"{model}: there is no such run or model file, and no built-in model of that name (there are: "
        f"{', '.join(built_in_models()) or 'none'})."
    )


def known_as(model: Path) -> str:
    """How to name a model so that others find it too: a built-in one by its name, else by its path."""
    return model.name if model.parent == FOLDER else str(model)


def read_card(name: str) -> Card:
    """The facts of a built-in model. Raises ImpastoError for unknown names."""
    if name not in built_in_models():
        raise ImpastoError(f"{name} is no built-in model (there are: {', '.join(built_in_models()) or 'none'}).")
    facts = json.loads((FOLDER / name / "card.json").read_text(encoding="utf-8"))
    return Card(name=name, megabytes=(FOLDER / name / WEIGHTS).stat().st_size / 1e6, **facts)


def whole_card(name: str) -> str:
    """The card as Markdown. Raises ImpastoError for unknown names."""
    read_card(name)
    return (FOLDER / name / "README.md").read_text(encoding="utf-8")
