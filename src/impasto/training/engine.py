"""The machine: device, floating-point type and processes. The only file that imports the distributed library."""

import contextlib
import functools
import time
from collections.abc import Iterable

import torch
from accelerate import PartialState
from accelerate.utils import broadcast, reduce
from torch import Tensor

from impasto.errors import ImpastoError


class Engine:
    """One process of a run: its device, its floating-point type, its share of each batch."""

    def __init__(self, device: str = "auto") -> None:
        name, reason = choose_device(device)
        self.state = PartialState(cpu=name == "cpu")
        self.device = torch.device(self.state.device or name)
        self.rank: int = self.state.process_index
        self.num_processes: int = self.state.num_processes
        self.is_main: bool = self.state.is_main_process
        dtype, dtype_reason = choose_dtype(self.device)
        if self.device.type == "cuda":
            torch.backends.cudnn.benchmark = True
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        # On a CPU the choice depends on timing, and all processes must agree.
        (in_half,) = self.from_main([float(dtype == torch.bfloat16)])
        self.dtype = torch.bfloat16 if in_half else torch.float32
        together = f"{self.num_processes} processes; " if self.num_processes > 1 else ""
        self.reason = f"{together}{reason}; {dtype_reason}"

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """The context in which the network computes in `dtype`."""
        if self.dtype == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)

    def keep_dtype(self, bfloat16: bool) -> None:
        """Continue in the type that the run started with instead of the one that timing chose today (CPUs only)."""
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


def choose_device(device: str) -> tuple[str, str]:
    """The device's name and the reason; ``auto`` takes CUDA, then Apple's MPS, then the CPU."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        name = next(name for name, there in available.items() if there)
        missing = " and ".join(n for n, there in available.items() if not there)
        return name, f"cpu ({missing} not available)" if name == "cpu" else f"{name} (available)"
    if device not in available:
        raise ImpastoError(f"--device {device}: use one of auto, {', '.join(available)}.")
    if not available[device]:
        raise ImpastoError(
            f"--device {device} is not available on this machine; --device auto selects the fastest available device."
        )
    return device, f"{device} (as requested)"


def choose_dtype(device: torch.device) -> tuple[torch.dtype, str]:
    """The floating-point type of the network and the reason.

    On a CPU with bfloat16 instructions both types are timed: on some processors bfloat16 is twice as fast as float32,
    on others half as fast, and no feature flag distinguishes them.
    """
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported():
            return torch.bfloat16, "bfloat16 (supported by this GPU)"
        return torch.float32, "float32 (this GPU has no bfloat16)"
    if device.type == "mps":
        return torch.float32, "float32"
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return torch.float32, "float32 (this CPU has no bfloat16)"
    ratio = _bfloat16_speed()
    if ratio > 1.15:
        return torch.bfloat16, f"bfloat16 ({ratio:.1f} times as fast as float32 on this CPU)"
    return torch.float32, f"float32 (bfloat16 has {ratio:.1f} times its speed on this CPU)"


@functools.cache
def _bfloat16_speed() -> float:
    """Speed of bfloat16 against float32 on this CPU; timed once per process, so that all its models agree."""
    return _convolution_seconds(torch.float32) / _convolution_seconds(torch.bfloat16)


def _convolution_seconds(dtype: torch.dtype) -> float:
    x = torch.zeros(16, 128, 16, 16, dtype=dtype).to(memory_format=torch.channels_last)
    weight = torch.zeros(128, 128, 3, 3, dtype=dtype).to(memory_format=torch.channels_last)
    best = float("inf")
    for _ in range(6):
        start = time.perf_counter()
        torch.nn.functional.conv2d(x, weight, padding=1)
        best = min(best, time.perf_counter() - start)
    return best
