"""Peak memory of the process or of its GPU."""

import importlib
import sys

import torch


def peak_memory(device: torch.device) -> float | None:
    """Peak memory in bytes: of the GPU if ``device`` is one, else of the process; None on Windows without a GPU."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated())
    if sys.platform == "win32":
        return None
    resource = importlib.import_module("resource")
    # In KiB, on macOS in bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1.0 if sys.platform == "darwin" else 1024.0)


def memory_text(device: torch.device) -> str:
    """Peak memory in GiB, as text."""
    peak = peak_memory(device)
    return "unknown" if peak is None else f"{peak / 2**30:.1f} GiB"
