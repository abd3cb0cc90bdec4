"""How much memory the program has needed so far."""

import importlib
import sys

import torch


def peak_memory(device: torch.device) -> float | None:
    """Bytes at most: on the GPU where ``device`` is one, else of the process; None where the system does not say."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated())
    if sys.platform == "win32":
        return None
    resource = importlib.import_module("resource")
    # Kibibytes, except on macOS.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1.0 if sys.platform == "darwin" else 1024.0)


def memory_text(device: torch.device) -> str:
    """The same for a person."""
    found = peak_memory(device)
    return "unknown" if found is None else f"{found / 2**30:.1f} GiB"
