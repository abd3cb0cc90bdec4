"""Descriptions of the settings of each job, from which the page draws its fields: default, range, choices, help."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic.fields import FieldInfo

from impasto.config import (
    FILE_SETTINGS,
    FUSE_CONFIG,
    GENERATE_CONFIG,
    STYLIZE_CONFIG,
    VARY_CONFIG,
    ImageConfig,
    TrainConfig,
)
from impasto.settings import choices_of, docs_of, kind_of, leaves
from impasto.web.requests import FuseRequest, GenerateRequest, TrainRequest

TYPES = {bool: "boolean", int: "integer", float: "number", str: "string"}
Described = dict[str, Any]


def describe_settings() -> dict[str, list[Described]]:
    """The settings of each job, in order; ``path`` is the position of a setting in the body of the job.

    ``vary`` is a job of the kind ``fuse`` with other defaults.
    """
    count = _of_field("count", GenerateRequest.model_fields["count"])
    variations = _of_field("count", FuseRequest.model_fields["count"])
    docs = docs_of(TrainConfig)
    return {
        "generate": [count, *_of_settings(GENERATE_CONFIG)],
        "stylize": _of_settings(STYLIZE_CONFIG),
        "fuse": [variations, *_of_settings(FUSE_CONFIG)],
        "vary": [variations, *_of_settings(VARY_CONFIG)],
        "train": [
            _of_field(name, field, docs[name])
            for name, field in TrainRequest.model_fields.items()
            if name in docs and name != "finetune"
        ],
    }


def _of_settings(settings: ImageConfig) -> list[Described]:
    """The leaves of ``settings`` that a request may contain."""
    return [
        _described(leaf.name, ("settings", *leaf.path), leaf.hint, leaf.default, leaf.help)
        for leaf in leaves(settings)
        if leaf.name not in FILE_SETTINGS
    ]


def _of_field(name: str, field: FieldInfo, help: str = "") -> Described:
    """A field of the body itself."""
    hint: Any = field.annotation
    for item in field.metadata:
        hint = Annotated[hint, item]
    return _described(name, (name,), hint, field.default, help or field.description or "")


def _described(name: str, path: tuple[str, ...], hint: Any, default: Any, help: str) -> Described:
    kind = kind_of(hint)
    choices: list[Any] = list(choices_of(kind.type))
    if isinstance(kind.type, type) and issubclass(kind.type, StrEnum):
        choices = [choice.value for choice in kind.type]
    return {
        "name": name,
        "path": ".".join(path),
        "type": "choice" if choices else TYPES.get(kind.type, "list"),
        "default": default,
        "optional": kind.optional,
        "minimum": kind.minimum,
        "maximum": kind.maximum,
        "multiple_of": kind.multiple_of,
        "usual_maximum": kind.usual.maximum if kind.usual else None,
        "step": kind.usual.step if kind.usual else None,
        "choices": choices,
        "help": help,
    }
