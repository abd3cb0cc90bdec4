"""The machine: device, floating-point type and processes. The only file that imports the distributed library."""

import contextlib
from collections.abc import Iterable

import torch
from accelerate import PartialState
from accelerate.utils import broadcast, reduce
from torch import Tensor

from impasto.device import choose_device, choose_dtype
from impasto.errors import ImpastoError


class Engine:
    """One process of a run: its device, its floating-point type, its share of each batch."""

    def __init__(self, device: str = "auto", dtype: str = "auto") -> None:
        name, reason = choose_device(device)
        self.state = PartialState(cpu=name == "cpu")
        self.device = torch.device(self.state.device or name)
        self.rank: int = self.state.process_index
        self.num_processes: int = self.state.num_processes
        self.is_main: bool = self.state.is_main_process
        self.dtype, dtype_reason = choose_dtype(self.device, dtype)
        if self.device.type == "cuda":
            torch.backends.cudnn.benchmark = True
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        together = f"{self.num_processes} processes; " if self.num_processes > 1 else ""
        self.reason = f"{together}{reason}; {dtype_reason}"

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
        return slice(self.rank * share, (self.rank + 1) * share)

    def check_batch(self, total: int, flag: str) -> None:
        """Refuse a batch that the processes cannot share evenly."""
        if total % self.num_processes:
            raise ImpastoError(f"{flag} {total} cannot be shared by {self.num_processes} processes: use a multiple.")

    def average(self, tensors: Iterable[Tensor]) -> None:
        """Replace tensors of equal type by their averages over all processes, in one message."""
        kept = list(tensors)
        if self.num_processes == 1 or not kept:
            return
        flat = reduce(torch.cat([t.flatten() for t in kept]), "mean")
        for tensor, part in zip(kept, flat.split([t.numel() for t in kept]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def add_up(self, tensors: Iterable[Tensor]) -> None:
        """Replace tensors on the device by their sums over all processes: each process filled other rows."""
        if self.num_processes > 1:
            for tensor in tensors:
                torch.distributed.all_reduce(tensor)

    def from_main(self, numbers: list[float]) -> list[float]:
        """The main process's ``numbers`` in every process, so that clocks and decisions agree."""
        if self.num_processes == 1:
            return numbers
        return broadcast(torch.tensor(numbers, dtype=torch.float64, device=self.device)).tolist()

    def wait(self) -> None:
        """Wait until every process arrives."""
        self.state.wait_for_everyone()
