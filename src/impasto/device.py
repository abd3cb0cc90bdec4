"""Which device computes, and in which floating-point type. On one machine the choice is always the same."""

import functools
import hashlib
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

import torch

from impasto.config import DTYPES
from impasto.errors import ImpastoError

MIN_SPEEDUP = 1.15
"""How many times as fast as float32 bfloat16 must be on a CPU."""
REPETITIONS = 9


def choose_device(device: str) -> tuple[str, str]:
    """The device's name and the reason; ``auto`` takes CUDA, then Apple's MPS, then the CPU.

    Raises ImpastoError for unknown names and for devices that are not available.
    """
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


def choose_dtype(device: torch.device, dtype: str = "auto") -> tuple[torch.dtype, str]:
    """The floating-point type of networks and the reason; ``auto`` takes the faster one.

    On a CPU its features decide. Where they do not, because bfloat16 instructions are twice as fast as float32 on some
    processors and half as fast on others, both types are timed once and the result is remembered, see
    `remembered_speedup`. Raises ImpastoError for unknown names.
    """
    if dtype not in ("auto", *DTYPES):
        raise ImpastoError(f"--dtype {dtype}: use one of auto, {', '.join(DTYPES)}.")
    if dtype != "auto":
        return getattr(torch, dtype), f"{dtype} (as requested)"
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported():
            return torch.bfloat16, "bfloat16 (supported by this GPU)"
        return torch.float32, "float32 (this GPU has no bfloat16)"
    if device.type == "mps":
        return torch.float32, "float32"
    return _dtype_of_cpu(torch.cpu.get_capabilities())


def _dtype_of_cpu(features: Mapping[str, object]) -> tuple[torch.dtype, str]:
    if features.get("amx_bf16"):
        return torch.bfloat16, "bfloat16 (this CPU has matrix instructions for it)"
    if not any(features.get(name) for name in ("avx512_bf16", "bf16", "sve_bf16")):
        return torch.float32, "float32 (this CPU has no bfloat16)"
    speedup = remembered_speedup(cache_folder(), bfloat16_speedup)
    if speedup is None:
        return torch.float32, f"float32 (the speed of bfloat16 cannot be remembered in {cache_folder()})"
    if speedup >= MIN_SPEEDUP:
        return torch.bfloat16, f"bfloat16 ({speedup:.1f} times as fast as float32 on this CPU)"
    return torch.float32, f"float32 (bfloat16 has {speedup:.1f} times its speed on this CPU)"


def cache_folder() -> Path:
    """Where facts about this machine are remembered: ``$XDG_CACHE_HOME/impasto``, or ``~/.cache/impasto``."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path("~/.cache").expanduser()) / "impasto"


@functools.cache
def remembered_speedup(folder: Path, measure: Callable[[], float]) -> float | None:
    """The result of ``measure`` on this CPU with this version of torch; measured only if ``folder`` has none yet.

    Of processes that measure at the same time, the first one to write decides for all. None if the folder cannot be
    written or its file is damaged: a type that could differ from one start to the next would break seeds.
    """
    machine = json.dumps(
        [platform.machine(), torch.__version__, _cpu_name(), torch.cpu.get_capabilities()], default=str
    )
    path = folder / f"bfloat16-{hashlib.sha256(machine.encode()).hexdigest()[:16]}.json"
    try:
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            _write_once(path, json.dumps({"bfloat16_speedup": round(measure(), 2)}) + "\n")
        return float(json.loads(path.read_text(encoding="utf-8"))["bfloat16_speedup"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write_once(path: Path, text: str) -> None:
    """Create ``path`` whole, unless it exists by now."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, suffix=".json")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    try:
        os.link(name, path)
    except FileExistsError:
        pass
    except OSError:  # a file system without hard links
        if not path.exists():
            Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)


def _cpu_name() -> str:
    """The model of the CPU, where the system tells it: machines that share a home folder may differ."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor()
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def bfloat16_speedup() -> float:
    """How many times as fast as float32 a convolution in bfloat16 is on this CPU: the median of several ratios."""
    return median(_seconds(torch.float32) / _seconds(torch.bfloat16) for _ in range(REPETITIONS))


def _seconds(dtype: torch.dtype) -> float:
    x = torch.zeros(16, 128, 16, 16, dtype=dtype).to(memory_format=torch.channels_last)
    weight = torch.zeros(128, 128, 3, 3, dtype=dtype).to(memory_format=torch.channels_last)
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        torch.nn.functional.conv2d(x, weight, padding=1)
        best = min(best, time.perf_counter() - start)
    return best
