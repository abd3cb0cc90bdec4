"""Impasto learns a style from a folder of pictures and makes more pictures in it."""

from typing import TYPE_CHECKING, Any

from impasto.version import __version__

if TYPE_CHECKING:
    from impasto.api import Pipeline, load, train
    from impasto.config import EvaluateConfig, FuseConfig, GenerateConfig, StylizeConfig, TrainConfig


__all__ = [
    "EvaluateConfig",
    "FuseConfig",
    "GenerateConfig",
    "Pipeline",
    "StylizeConfig",
    "TrainConfig",
    "__version__",
    "load",
    "train",
]


def __getattr__(name: str) -> Any:
    # torch takes seconds to import, so nothing is imported before it is asked for.
    if name in __all__ and name.endswith("Config"):
        from impasto import config

        return getattr(config, name)
    if name in __all__:
        from impasto import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
