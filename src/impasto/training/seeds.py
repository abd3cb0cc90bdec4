"""Where every random number of a run comes from: a function of (seed, stage, step), so that resuming needs no guess."""

import hashlib
from typing import Any

import numpy as np
import torch

from impasto.events import Stage
from impasto.model.decoder import Latents
from impasto.model.levels import Levels


def seed_of(*parts: int | str) -> int:
    """A 63-bit seed from anything that names a place in a run."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def generator(seed: int, stage: Stage, step: int) -> torch.Generator:
    """The torch generator of one step, on the CPU: the same numbers on every device and in every process."""
    return torch.Generator().manual_seed(seed_of(seed, stage, step))


def noise_of(seed: int, stage: Stage, step: int, shapes: Levels[Any], device: torch.device) -> Latents:
    """Standard normal noise of these ``shapes`` for one step, drawn on ``device``: it would be too much to copy
    there."""
    draw = torch.Generator(device).manual_seed(seed_of(seed, stage, step, "noise"))
    return shapes.map(lambda shape: torch.randn(*shape, generator=draw, device=device))


def rng(seed: int, stage: Stage, step: int) -> np.random.Generator:
    """The numpy generator of one step."""
    return np.random.default_rng(seed_of(seed, stage, step))


class Order:
    """The order in which a stage sees images: each once an epoch, shuffled by (seed, stage, epoch)."""

    def __init__(self, images: np.ndarray, seed: int, stage: Stage) -> None:
        self.images = images
        self.seed = seed
        self.stage = stage
        self._epoch = -1
        self._shuffled = images

    def take(self, position: int, count: int) -> np.ndarray:
        """Images number ``position`` to ``position + count`` of the endless sequence of epochs."""
        parts = []
        while count > 0:
            epoch, start = divmod(position, len(self.images))
            part = self._of_epoch(epoch)[start : start + count]
            parts.append(part)
            position, count = position + len(part), count - len(part)
        return np.concatenate(parts)

    def _of_epoch(self, epoch: int) -> np.ndarray:
        if epoch != self._epoch:
            permutation = np.random.default_rng(seed_of(self.seed, self.stage, "epoch", epoch))
            self._epoch, self._shuffled = epoch, permutation.permutation(self.images)
        return self._shuffled
