"""The common part of both stages of training: one step, micro-batches when memory runs out, state."""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from impasto.errors import ImpastoError
from impasto.events import Stage
from impasto.training.checkpoint import Checkpoint
from impasto.training.engine import Engine
from impasto.training.optimizer import Optimizer, below

B = TypeVar("B")

Terms = dict[str, Tensor]
"""Terms of the loss by name: scalars without gradient, on the device."""


class TrainingStage(ABC, Generic[B]):
    """One stage: draws a batch for a step, computes its loss, updates the weights."""

    stage: Stage

    def __init__(self, engine: Engine, optimizer: Optimizer, batch_size: int) -> None:
        self.engine = engine
        self.optimizer = optimizer
        self.auxiliary: dict[str, Optimizer] = {}
        """Optimizers of auxiliary predictors, by name."""
        self.batch_size = batch_size
        self.micro_batch = batch_size // engine.num_processes
        self._ahead = ThreadPoolExecutor(1)
        self._next: tuple[int, Future[B]] | None = None
        """The batch of a step, on its way while the GPU computes the one before."""

    @property
    def converged(self) -> bool:
        """Whether the stage ends before its budget is spent."""
        return False

    def finish(self) -> None:
        """Called when the budget is spent, before the last save; not for an interruption, after which it goes on."""

    def averaged(self) -> dict[str, Tensor]:
        """The weights to keep: the moving average."""
        return self.optimizer.average.module.state_dict()

    @abstractmethod
    def draw(self, step: int, images_seen: int) -> B:
        """The batch of a step, whole, with everything random about it; the same in every process."""

    @abstractmethod
    def loss(self, batch: B, rows: slice, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of some rows of the batch, averaged over them, and its named terms."""

    def step(self, step: int, images_seen: int, progress: float) -> tuple[Terms, str | None]:
        """One update. Returns this process's terms, and a warning where micro-batches were halved to save memory."""
        terms, warning = self._gradients(step, images_seen, progress)
        self.optimizer.update(progress)
        for optimizer in self.auxiliary.values():
            if any(p.grad is not None for p in optimizer.parameters):
                optimizer.update(progress)
        return terms, warning

    def rehearse(self, progress: float) -> None:
        """Forward and backward on the first batch, without an update: measures the time and memory of a step."""
        self._gradients(0, 0, progress, exchange=False)
        self._forget()
        self.micro_batch = self.engine.smallest(self.micro_batch)

    def _drawn(self, step: int, images_seen: int) -> B:
        """The batch of a step. While a GPU computes, the next one is drawn; on a CPU that would gain nothing."""
        if self.engine.device.type == "cpu":
            return self.draw(step, images_seen)
        number, coming = self._next or (-1, None)
        batch = coming.result() if coming else None
        if batch is None or number != step:
            batch = self.draw(step, images_seen)
        self._next = step + 1, self._ahead.submit(self.draw, step + 1, images_seen + self.batch_size)
        return batch

    def _gradients(
        self, step: int, images_seen: int, progress: float, *, exchange: bool = True
    ) -> tuple[Terms, str | None]:
        """Gradients, averaged over all processes if they ``exchange`` them; the terms, and a warning."""
        warning = None
        batch = self._drawn(step, images_seen)
        exchange = exchange and self.engine.num_processes > 1
        while True:
            try:
                return self._accumulate(batch, progress, exchange), warning
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                if exchange:
                    raise ImpastoError(
                        "memory ran out: the same command with --processes 1 resumes and needs less memory."
                    ) from error
            self._halve()
            warning = f"memory ran out: now computing {self.micro_batch} images at a time; the batch stays the same"

    def state(self) -> Checkpoint:
        """All that resuming this stage needs."""
        tensors, numbers = self.optimizer.state()
        for name, optimizer in self.auxiliary.items():
            more, counts = optimizer.state()
            tensors |= {f"{name}.{key}": tensor for key, tensor in more.items()}
            numbers |= {f"{name}.{key}": number for key, number in counts.items()}
        return Checkpoint(tensors, numbers | {"micro_batch": self.micro_batch})

    def restore(self, saved: Checkpoint) -> None:
        """Go on from a saved state of this stage."""
        self.optimizer.restore(saved.tensors, saved.numbers)
        for name, optimizer in self.auxiliary.items():
            optimizer.restore(below(saved.tensors, f"{name}."), below(saved.numbers, f"{name}."))
        self.micro_batch = int(saved.numbers["micro_batch"])

    def _accumulate(self, batch: B, progress: float, exchange: bool) -> Terms:
        mine = self.engine.rows(self.batch_size)
        count = mine.stop - mine.start
        sums: Terms = {}
        for start in range(mine.start, mine.stop, self.micro_batch):
            rows = slice(start, min(start + self.micro_batch, mine.stop))
            share = (rows.stop - rows.start) / count
            compute, context = self.loss, contextlib.nullcontext()
            if exchange:
                compute = self._parallel
                context = context if rows.stop == mine.stop else self._parallel.no_sync()
            with context:
                with self.engine.autocast():
                    loss, terms = compute(batch, rows, progress)
                (share * loss).backward()
            for name, value in terms.items():
                sums[name] = sums.get(name, 0) + share * value
        return sums

    @cached_property
    def _parallel(self) -> DistributedDataParallel:
        """The loss as a module whose backward pass averages the gradients over all processes."""
        modules = [optimizer.module for optimizer in (self.optimizer, *self.auxiliary.values())]
        # Frozen encoders and terms that end leave weights without gradients.
        return DistributedDataParallel(
            _Loss(self.loss, modules),
            find_unused_parameters=True,
            gradient_as_bucket_view=True,
        )

    def _forget(self) -> None:
        """Clear gradients that no update may use."""
        for optimizer in (self.optimizer, *self.auxiliary.values()):
            optimizer.adam.zero_grad(set_to_none=True)

    def _halve(self) -> None:
        self._forget()
        if self.micro_batch == 1:
            raise ImpastoError("memory ran out even with one image at a time: use a smaller --size or --resolution.")
        self.micro_batch = (self.micro_batch + 1) // 2
        if self.engine.device.type == "cuda":
            torch.cuda.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch says that memory ran out, on a GPU or a CPU."""
    text = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError) or "out of memory" in text or "can't allocate memory" in text


class _Loss(nn.Module):
    """A loss function as a module that contains the weights it trains."""

    def __init__(self, loss: Callable[..., tuple[Tensor, Terms]], modules: list[nn.Module]) -> None:
        super().__init__()
        self.modules_trained = nn.ModuleList(modules)
        self.loss = loss

    def forward(self, *arguments: Any) -> tuple[Tensor, Terms]:
        return self.loss(*arguments)
