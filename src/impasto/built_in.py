"""Built-in models, referred to by name: each is a folder with weights, a config and a model card."""

import json
from dataclasses import dataclass
from pathlib import Path

from impasto.errors import ImpastoError

FOLDER = Path(__file__).parent / "models"
WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Card:
    """A summary of a model; the complete model card is its README.md."""

    name: str
    about: str
    resolution: int
    megabytes: float
    licence: str
    data: str
    command: str
    """The command that trained it."""
    trained: str
    """Duration and hardware of the training."""
    scores: dict[str, str]
    """Results of the evaluation, by name."""


def built_in_models() -> tuple[str, ...]:
    """The names of the built-in models, sorted."""
    return tuple(sorted(file.parent.name for file in FOLDER.glob(f"*/{WEIGHTS}")))


def is_built_in(model: Path) -> bool:
    """Whether ``model`` names a built-in model and no model of the user; a folder of images does not count."""
    is_model = model.is_file() or (model / WEIGHTS).is_file() or (model / "config.json").is_file()
    return not is_model and str(model) in built_in_models()


def resolve_model(model: Path) -> Path:
    """The path of ``model``: of a run or model file if it exists, else of the built-in model of this name.

    Raises ImpastoError if neither exists.
    """
    if is_built_in(model):
        return FOLDER / model
    if model.exists():
        return model
    raise ImpastoError(
        f"{model}: there is no such run or model file, and no built-in model of that name (available: "
        f"{', '.join(built_in_models()) or 'none'})."
    )


def model_name(model: Path) -> str:
    """The name of a built-in model, which is valid on every machine, or the path of another."""
    return model.name if model.parent == FOLDER else str(model)


def read_card(name: str) -> Card:
    """The summary of a built-in model. Raises ImpastoError for unknown names."""
    if name not in built_in_models():
        raise ImpastoError(f"{name} is not a built-in model (available: {', '.join(built_in_models()) or 'none'}).")
    summary = json.loads((FOLDER / name / "card.json").read_text(encoding="utf-8"))
    return Card(name=name, megabytes=(FOLDER / name / WEIGHTS).stat().st_size / 1e6, **summary)


def whole_card(name: str) -> str:
    """The complete model card as Markdown. Raises ImpastoError for unknown names."""
    read_card(name)
    return (FOLDER / name / "README.md").read_text(encoding="utf-8")
