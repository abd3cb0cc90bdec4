"""What a run will manage, said before it starts."""

from collections.abc import Iterator

from torch import nn

from impasto.config import TrainConfig
from impasto.data import PictureSet
from impasto.events import Stage
from impasto.model.impasto import Impasto
from impasto.training.budget import StageClock
from impasto.training.engine import Engine


def plan(
    config: TrainConfig, engine: Engine, model: Impasto, pictures: PictureSet, clocks: dict[Stage, StageClock]
) -> Iterator[str]:
    """Lines for a person: device and why, model size, budget."""
    yield f"device: {engine.reason}"
    sizes = {name: _millions(part) for name, part in (("autoencoder", model.autoencoder), ("prior", model.prior))}
    yield (
        f"model: {config.size}, {sizes['autoencoder']} M parameters in the autoencoder, {sizes['prior']} M in the prior, "
        f"{config.resolution} px, {pictures.channels} channels"
    )
    for stage, clock in clocks.items():
        amount = f"{clock.limit:,.0f} pictures" if clock.counts_images else f"{clock.limit / 60:.1f} minutes"
        yield f"stage {stage}: {amount}"


def _millions(module: nn.Module) -> str:
    return f"{sum(p.numel() for p in module.parameters()) / 1e6:.1f}"
