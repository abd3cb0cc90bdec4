"""The few calls that the harness makes of a system."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

Images = Float[Tensor, "batch 3 height width"]
"""RGB over white, in [0, 1]."""
Labels = Int[Tensor, " batch"]
"""Which collection an image is of."""


class System(ABC, nn.Module):
    """A generative model and how it is trained, one step at a time.

    All that resuming needs is in its ``state_dict`` and its ``optimizers``.
    """

    name: ClassVar[str]
    settings: ClassVar[str]
    """Where its settings come from, and what was changed for a budget of minutes."""
    batch_size: ClassVar[int]

    def __init__(self) -> None:
        super().__init__()
        self.optimizers: dict[str, torch.optim.Optimizer] = {}

    @abstractmethod
    def step(self, image: Images, labels: Labels, progress: float) -> float:
        """One update; ``progress`` is the part of the budget that is spent. Returns a loss, to be watched."""

    @abstractmethod
    def sample(self, labels: Labels, generator: torch.Generator) -> Images:
        """New images of these collections, or of any where the system does not know them."""

    def reconstruct(self, image: Images) -> Images | None:
        """Images through the system's bottleneck and back; None where it has none."""
        return None

    def latent_numbers(self) -> int | None:
        """How many numbers an image becomes."""
        return None


def annealed(optimizer: torch.optim.Optimizer, rate: float, progress: float, warmup: float = 0.02) -> None:
    """Set the learning rate: linear warm-up, then cosine to zero at the end of the budget."""
    import math

    for group in optimizer.param_groups:
        group["lr"] = rate * min(1.0, progress / warmup + 0.01) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
