"""Memory: the peak of the process or of its GPU, and pages that make training faster."""

import importlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

HUGE_PAGES = "glibc.malloc.hugetlb=1"
"""For the environment variable GLIBC_TUNABLES, which glibc reads when a program starts."""


def with_huge_pages(tunables: str) -> str:
    """The value of GLIBC_TUNABLES with huge pages, unless it decides about them already.

    Training on a CPU is 10 to 20 % faster with them, see docs/experiments/2026-11-28-stage1-cpu.md.

    >>> with_huge_pages("glibc.malloc.check=3")
    'glibc.malloc.check=3:glibc.malloc.hugetlb=1'
    """
    return tunables if "hugetlb" in tunables else ":".join(filter(None, (tunables, HUGE_PAGES)))


def peak_memory(device: "torch.device") -> float | None:
    """Peak memory in bytes: of the GPU if ``device`` is one, else of the process; None on Windows without a GPU."""
    if device.type == "cuda":
        import torch  # takes seconds; whoever has a device has imported it

        return float(torch.cuda.max_memory_allocated())
    if sys.platform == "win32":
        return None
    resource = importlib.import_module("resource")
    # In KiB, on macOS in bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1.0 if sys.platform == "darwin" else 1024.0)


def memory_text(device: "torch.device") -> str:
    """Peak memory in GiB, as text."""
    peak = peak_memory(device)
    return "unknown" if peak is None else f"{peak / 2**30:.1f} GiB"
