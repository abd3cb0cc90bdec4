"""The interface of the systems."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

Images = Float[Tensor, "batch 3 height width"]
"""RGB over white, in [0, 1]."""
Labels = Int[Tensor, " batch"]
"""The collection of each image."""


class System(ABC, nn.Module):
    """A generative model and its training, one step at a time.

    The complete state for resuming is in its ``state_dict`` and its ``optimizers``.
    """

    name: ClassVar[str]
    settings: ClassVar[str]
    """The source of its settings, and the changes for a budget of minutes."""
    batch_size: ClassVar[int]

    def __init__(self) -> None:
        super().__init__()
        self.optimizers: dict[str, torch.optim.Optimizer] = {}

    @abstractmethod
    def step(self, image: Images, labels: Labels, progress: float) -> float:
        """One update; ``progress`` is the part of the budget that is spent. Returns the loss for the log."""

    @abstractmethod
    def sample(self, labels: Labels, generator: torch.Generator) -> Images:
        """New images of these collections, or of any collection if the system is unconditional."""

    def reconstruct(self, image: Images) -> Images | None:
        """Reconstructions of images; None if the system has no encoder."""
        return None

    def latent_numbers(self) -> int | None:
        """Number of latent dimensions of an image; None without latents."""
        return None


def annealed(optimizer: torch.optim.Optimizer, rate: float, progress: float, warmup: float = 0.02) -> None:
    """Set the learning rate: linear warm-up, then cosine to zero at the end of the budget."""
    import math

    for group in optimizer.param_groups:
        group["lr"] = rate * min(1.0, progress / warmup + 0.01) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
