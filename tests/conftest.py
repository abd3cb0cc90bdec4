"""Shapes are checked in tests only: jaxtyping annotations become assertions through beartype."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from jaxtyping import install_import_hook

install_import_hook("impasto.model", "beartype.beartype")
install_import_hook("impasto.objective", "beartype.beartype")

import hypothesis
import pytest
import torch

from impasto.config import ModelConfig, Size, sized_model

hypothesis.settings.register_profile("impasto", deadline=None)
hypothesis.settings.load_profile("impasto")


@pytest.fixture
def tiny() -> ModelConfig:
    """A model small enough for a test."""
    return sized_model(Size.TINY, channels=4, resolution=32, collections=("a", "b"))


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
