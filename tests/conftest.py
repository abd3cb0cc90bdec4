"""Shapes are checked in tests only: jaxtyping annotations become assertions through beartype."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# Threads spin: with the small models of tests they only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from jaxtyping import install_import_hook

install_import_hook("impasto.model", "beartype.beartype")
install_import_hook("impasto.objective", "beartype.beartype")

from pathlib import Path

import hypothesis
import pytest
import torch

from impasto.config import ModelConfig, Size, sized_model
from impasto.model.gaussian import Gaussian
from impasto.model.impasto import Impasto, save_model
from impasto.training.run import Run

hypothesis.settings.register_profile("impasto", deadline=None)
hypothesis.settings.load_profile("impasto")


@pytest.fixture
def tiny() -> ModelConfig:
    """A model small enough for a test."""
    return sized_model(Size.TINY, channels=4, resolution=32, collections=("a", "b"))


@pytest.fixture
def run(tiny: ModelConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run folder with a model of random weights; the working directory is its parent."""
    monkeypatch.chdir(tmp_path)
    network = Impasto(tiny)
    for name, parameter in network.named_parameters():
        if name.startswith(("prior.head", "prior.intermediate_head")):
            torch.nn.init.normal_(parameter, std=0.1)  # an untrained flow hardly moves
    save_model(network, Run(tmp_path / "run").model, styles=Gaussian.unstack(torch.randn(2, 2, tiny.style_dim)))
    return Path("run")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
