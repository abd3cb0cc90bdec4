"""Built-in models, referred to by name: each is a folder with weights, a config and a model card."""

import json
from dataclasses import dataclass
from pathlib import Path

from impasto.errors import ImpastoError, similar

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

    Raises ImpastoError if neither exists, and for a run that has not saved a model yet.
    """
    if is_built_in(model):
        return FOLDER / model
    if (model / "config.json").is_file() and not (model / WEIGHTS).is_file():
        raise ImpastoError(
            f"{model} is not a trained run: its training has not saved yet. Wait for its first save, resume it with "
            "the same impasto train command, or name another model."
        )
    if model.exists():
        return model
    raise ImpastoError(
        f"{model}: there is no such run or model file, and no built-in model of that name (available: "
        f"{', '.join(built_in_models()) or 'none'}).{similar(str(model), built_in_models())}"
    )


def model_name(model: Path) -> str:
    """The name of a built-in model, which is valid on every machine, or the path of another."""
    return model.name if model.parent == FOLDER else str(model)


def read_card(name: str) -> Card:
    """The summary of a built-in model. Raises ImpastoError for unknown names."""
    if name not in built_in_models():
        raise ImpastoError(
            f"{name} is not a built-in model (available: {', '.join(built_in_models()) or 'none'})."
            f"{similar(name, built_in_models())}"
        )
    summary = json.loads((FOLDER / name / "card.json").read_text(encoding="utf-8"))
    return Card(name=name, megabytes=(FOLDER / name / WEIGHTS).stat().st_size / 1e6, **summary)


def style_names(name: str) -> tuple[str, ...]:
    """The styles of a built-in model, from the header of its weights, without torch."""
    with (FOLDER / name / WEIGHTS).open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return tuple(json.loads(header["__metadata__"]["config"])["collections"])


def whole_card(name: str) -> str:
    """The complete model card as Markdown. Raises ImpastoError for unknown names."""
    read_card(name)
    return (FOLDER / name / "README.md").read_text(encoding="utf-8")
