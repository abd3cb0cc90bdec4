"""Impasto learns styles from folders of images, generates images in them, and stylizes images."""

from typing import TYPE_CHECKING, Any

from impasto.errors import ImpastoError
from impasto.version import __version__

if TYPE_CHECKING:
    from impasto.api import Generated, Pipeline, Reconstruction, Similarity, load, train
    from impasto.config import (
        Against,
        ClipFormat,
        CouplingConfig,
        EvaluateConfig,
        Fit,
        Flow,
        FuseConfig,
        GenerateConfig,
        ModelConfig,
        ObjectiveConfig,
        Output,
        Prompt,
        Repeat,
        Sampling,
        Size,
        StylizeConfig,
        TrainConfig,
        flat,
    )
    from impasto.create.recipe import Recipe, read_recipe
    from impasto.create.vectors import Latents


__all__ = [
    "Against",
    "ClipFormat",
    "CouplingConfig",
    "EvaluateConfig",
    "Fit",
    "Flow",
    "FuseConfig",
    "GenerateConfig",
    "Generated",
    "ImpastoError",
    "Latents",
    "ModelConfig",
    "ObjectiveConfig",
    "Output",
    "Pipeline",
    "Prompt",
    "Recipe",
    "Reconstruction",
    "Repeat",
    "Sampling",
    "Similarity",
    "Size",
    "StylizeConfig",
    "TrainConfig",
    "__version__",
    "flat",
    "load",
    "read_recipe",
    "train",
]

_MODULES = {
    "impasto.api": ("Generated", "Pipeline", "Reconstruction", "Similarity", "load", "train"),
    "impasto.create.recipe": ("Recipe", "read_recipe"),
    "impasto.create.vectors": ("Latents",),
}
"""Names that are not in `impasto.config`."""


def __getattr__(name: str) -> Any:
    # Imports are deferred: torch takes seconds to import.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module = next((module for module, names in _MODULES.items() if name in names), "impasto.config")
    return getattr(import_module(module), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
