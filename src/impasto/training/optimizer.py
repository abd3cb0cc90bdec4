"""One update of the weights: schedule, clipping, spike guard and moving average."""

import math
from collections.abc import Iterable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

V = TypeVar("V")

WARMUP_SHARE = 0.1
"""Longest warm-up, as a part of the stage."""
MAX_GRADIENT_NORM = 1.0
SPIKE_FACTOR = 8.0
"""A gradient this many times its running norm is a spike, and the update is skipped."""
GUARD_STEPS = 100
"""Updates before the running norm is trusted."""


class Optimizer:
    """AdamW with warm-up and cosine decay, an exponential moving average, and a guard that skips gradient spikes."""

    def __init__(self, module: nn.Module, learning_rate: float, *, warmup: int = 100, decay: float = 0.998) -> None:
        self.module = module
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        self.learning_rate = learning_rate
        self.warmup = warmup
        self.adam = torch.optim.AdamW(
            self.parameters, lr=learning_rate, betas=(0.9, 0.99), weight_decay=0.01, fused=True
        )
        self.average = AveragedModel(module, multi_avg_fn=_warm_average(decay))
        self.updates = 0
        """Skipped ones count too."""
        # On the device, so that no update waits for it.
        self._skipped, self._running_log_norm = torch.zeros(2, device=self.parameters[0].device)

    @property
    def skipped(self) -> int:
        """The number of updates that were skipped; reading it waits for a GPU."""
        return int(self._skipped)

    def schedule(self, progress: float) -> float:
        """The learning rate at this part of the stage: linear warm-up, level, then cosine to zero in the last half.

        The warm-up takes no more than a tenth of the stage, however few updates that is.
        """
        tail = 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, 2 * progress - 1))))
        warmth = max((self.updates + 1) / self.warmup, progress / WARMUP_SHARE)
        return self.learning_rate * min(1.0, warmth) * tail

    def update(self, progress: float) -> None:
        """Update the weights from their gradients, unless these are a spike or not finite. Gradients are cleared."""
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients, foreach=True)
        # The fused optimizer divides gradients by the one and does nothing if the other is 1.
        self.adam.grad_scale = (norm / MAX_GRADIENT_NORM).clamp(min=1)  # pyrefly: ignore
        self.adam.found_inf = 1 - self._accepted(norm)  # pyrefly: ignore
        for group in self.adam.param_groups:
            group["lr"] = self.schedule(progress)
        self.adam.step()
        self.average.update_parameters(self.module)
        self.updates += 1
        self.adam.zero_grad(set_to_none=True)

    def _accepted(self, norm: Tensor) -> Tensor:
        """1 if gradients of this norm may update the weights, else 0."""
        running, log_norm, is_finite = self._running_log_norm, (norm + 1e-12).log(), norm.isfinite()
        is_accepted = is_finite
        if self.updates >= GUARD_STEPS:
            is_accepted = is_accepted & (log_norm <= running + math.log(SPIKE_FACTOR))
        # A spike moves the running norm too, but slowly: a lasting change of scale is accepted after some updates.
        share = 1.0 if self.updates == 0 else 0.02
        change = share * (torch.minimum(log_norm, running + 5) - running)
        running += torch.where(is_finite, change, 0)
        self._skipped += ~is_accepted
        return is_accepted.float()

    def state(self) -> tuple[dict[str, Tensor], dict[str, float]]:
        """Tensors (weights, moving average, moments) and numbers for resuming."""
        tensors = {f"weights.{k}": v for k, v in self.module.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.module.state_dict().items()}
        for index, parameter in enumerate(self.parameters):
            for key, value in self.adam.state[parameter].items():
                tensors[f"adam.{index}.{key}"] = value
        numbers = {
            "updates": self.updates,
            "skipped": self.skipped,
            "running_log_norm": float(self._running_log_norm),
            "averaged": int(self.average.n_averaged),
        }
        return tensors, numbers

    def restore(self, tensors: dict[str, Tensor], numbers: dict[str, float]) -> None:
        """The inverse of `state`."""
        self.module.load_state_dict(below(tensors, "weights."))
        self.average.module.load_state_dict(below(tensors, "average."))
        moments = below(tensors, "adam.")
        if moments:
            saved = self.adam.state_dict()
            saved["state"] = {
                i: {
                    "step": moments[f"{i}.step"].clone(),
                    # The fused update needs moments with the memory layout of their weights.
                    "exp_avg": torch.empty_like(p).copy_(moments[f"{i}.exp_avg"]),
                    "exp_avg_sq": torch.empty_like(p).copy_(moments[f"{i}.exp_avg_sq"]),
                }
                for i, p in enumerate(self.parameters)
                if f"{i}.step" in moments
            }
            self.adam.load_state_dict(saved)
        self.updates = int(numbers["updates"])
        self._skipped.fill_(numbers["skipped"])
        self._running_log_norm.fill_(numbers["running_log_norm"])
        self.average.n_averaged.fill_(int(numbers["averaged"]))


def below(values: dict[str, V], prefix: str) -> dict[str, V]:
    """The values whose names start with ``prefix``, without it."""
    return {k.removeprefix(prefix): v for k, v in values.items() if k.startswith(prefix)}


def _warm_average(decay: float):
    @torch.no_grad()
    def average(averaged: Sequence[Tensor], current: Sequence[Tensor], count: Tensor | int) -> None:
        # At the start, average over the updates so far instead of the initial weights.
        kept = min(decay, (1 + int(count)) / (10 + int(count)))
        floats: Iterable[tuple[Tensor, Tensor]] = (
            (a, c) for a, c in zip(averaged, current, strict=True) if a.is_floating_point()
        )
        pairs = list(floats)
        torch._foreach_lerp_([a for a, _ in pairs], [c for _, c in pairs], 1 - kept)

    return average
