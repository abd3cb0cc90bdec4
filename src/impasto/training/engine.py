"""The machine: device, floating-point type, and this process among those that share the batches."""

import contextlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from impasto.device import choose_device, choose_dtype
from impasto.errors import ImpastoError


@dataclass(frozen=True)
class Rank:
    """One process of a training."""

    index: int = 0
    """0 is the main process, which writes and reports."""
    count: int = 1
    local: int = 0
    """Number of its GPU on its machine."""
    store: dist.Store | None = None
    """Where the processes meet; None: where the environment names."""
    wait_for_start: Callable[[], None] = lambda: None
    """Wait until the other processes have started. Raises ImpastoError if one has ended."""

    @classmethod
    def of_environment(cls) -> "Rank":
        """The rank that torchrun gives; alone without torchrun."""
        index, count, local = (
            int(os.environ.get(name, default))
            for name, default in (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"))
        )
        return cls(index, count, local)


ALONE = Rank()
TIMEOUT = timedelta(days=1)
"""For one process to wait for another, which may decode a large folder; one that has ended is noticed at once."""


class Engine:
    """One process of a run: its device, its floating-point type, its share of each batch."""

    def __init__(self, device: str = "auto", dtype: str = "auto", rank: Rank = ALONE) -> None:
        name, reason = choose_device(device)
        self.rank = rank
        self.device = torch.device(name, rank.local) if name == "cuda" else torch.device(name)
        self.num_processes = rank.count
        self.is_main = rank.index == 0
        self.dtype, dtype_reason = choose_dtype(self.device, dtype)
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)
            torch.backends.cudnn.benchmark = True
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        together = f"{self.num_processes} processes; " if self.num_processes > 1 else ""
        self.reason = f"{together}{reason}; {dtype_reason}"

    @property
    def num_threads(self) -> int | None:
        """The threads that compute; None on a GPU."""
        return torch.get_num_threads() if self.device.type == "cpu" else None

    def connect(self) -> None:
        """Wait for the other processes; from then on they exchange tensors."""
        if self.num_processes > 1 and not dist.is_initialized():
            self.rank.wait_for_start()
            backend = "nccl" if self.device.type == "cuda" else "gloo"
            index, count = (self.rank.index, self.rank.count) if self.rank.store else (-1, -1)
            dist.init_process_group(backend, timeout=TIMEOUT, world_size=count, rank=index, store=self.rank.store)

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """The context in which the network computes in `dtype`."""
        if self.dtype == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)

    def keep_dtype(self, bfloat16: bool) -> None:
        """Continue in the type that the run started with, which another CPU or version of torch may not choose."""
        if self.device.type == "cpu":
            self.dtype = torch.bfloat16 if bfloat16 else torch.float32

    def home_of(self, size: int) -> torch.device:
        """Where to keep ``size`` bytes: on the GPU if they fit into half of its free memory, else on the CPU."""
        is_roomy = self.device.type == "cuda" and size <= torch.cuda.mem_get_info(self.device)[0] // 2
        return self.device if is_roomy else torch.device("cpu")

    def rows(self, total: int) -> slice:
        """This process's rows of a batch of ``total`` images."""
        share = total // self.num_processes
        return slice(self.rank.index * share, (self.rank.index + 1) * share)

    def check_batch(self, total: int, flag: str) -> None:
        """Refuse a batch that the processes cannot share evenly."""
        if total % self.num_processes:
            raise ImpastoError(f"{flag} {total} cannot be shared by {self.num_processes} processes: use a multiple.")

    def add_up(self, tensors: Iterable[Tensor]) -> None:
        """Replace tensors on the device by their sums over all processes: each process filled other rows."""
        if self.num_processes > 1:
            for tensor in tensors:
                dist.all_reduce(tensor)

    def smallest(self, number: int) -> int:
        """The smallest of the processes' numbers."""
        if self.num_processes == 1:
            return number
        tensor = torch.tensor(number, device=self.device)
        dist.all_reduce(tensor, dist.ReduceOp.MIN)
        return int(tensor)

    def from_main(self, numbers: list[float]) -> list[float]:
        """The main process's ``numbers`` in every process, so that clocks and decisions agree."""
        if self.num_processes == 1:
            return numbers
        tensor = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        dist.broadcast(tensor, 0)
        return tensor.tolist()

    def wait(self) -> None:
        """Wait until every process arrives."""
        if self.num_processes > 1:
            dist.barrier()
