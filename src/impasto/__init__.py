"""Impasto learns styles from folders of images, generates images in them, and stylizes images."""

from typing import TYPE_CHECKING, Any

from impasto.version import __version__

if TYPE_CHECKING:
    from impasto.api import Pipeline, load, train
    from impasto.config import (
        EvaluateConfig,
        FuseConfig,
        GenerateConfig,
        Output,
        Prompt,
        Sampling,
        StylizeConfig,
        TrainConfig,
        flat,
    )


__all__ = [
    "EvaluateConfig",
    "FuseConfig",
    "GenerateConfig",
    "Output",
    "Pipeline",
    "Prompt",
    "Sampling",
    "StylizeConfig",
    "TrainConfig",
    "__version__",
    "flat",
    "load",
    "train",
]


def __getattr__(name: str) -> Any:
    # Imports are deferred: torch takes seconds to import.
    if name in __all__ and (name.endswith("Config") or name in ("Output", "Prompt", "Sampling", "flat")):
        from impasto import config

        return getattr(config, name)
    if name in __all__:
        from impasto import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
