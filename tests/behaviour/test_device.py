"""The device and the floating-point type are the same at each start."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from impasto import device as devices
from impasto.cli.main import restart_with_huge_pages
from impasto.device import MIN_SPEEDUP, cache_folder, choose_device, choose_dtype, remembered_speedup
from impasto.errors import ImpastoError

CPU = torch.device("cpu")
CONCURRENT = 4
MEASURE = """
import random, sys, time
from pathlib import Path
from impasto.device import remembered_speedup

def noisy() -> float:
    time.sleep(0.2 * random.random())
    return 1 + random.random()

print(remembered_speedup(Path(sys.argv[1]), noisy))
"""


def with_features(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Let this CPU have these features."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(names, True))


def not_measured() -> float:
    raise AssertionError("nothing is to be timed")


def test_a_requested_dtype_is_kept_and_an_unknown_one_refused() -> None:
    assert choose_dtype(CPU, "bfloat16") == (torch.bfloat16, "bfloat16 (as requested)")
    assert choose_dtype(CPU, "float32") == (torch.float32, "float32 (as requested)")
    with pytest.raises(ImpastoError, match="half: use one of auto, float32, bfloat16"):
        choose_dtype(CPU, "half")
    assert choose_device("cpu") == ("cpu", "cpu (as requested)")
    with pytest.raises(ImpastoError, match="abacus: use one of auto, cuda, mps, cpu"):
        choose_device("abacus")


def test_features_of_the_cpu_decide_without_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "bfloat16_speedup", not_measured)
    with_features(monkeypatch, "avx512_bf16", "amx_bf16")
    assert choose_dtype(CPU)[0] is torch.bfloat16
    with_features(monkeypatch, "avx2")
    assert choose_dtype(CPU) == (torch.float32, "float32 (this CPU has no bfloat16)")


@pytest.mark.parametrize(("speedup", "expected"), [(1.9, torch.bfloat16), (MIN_SPEEDUP - 0.05, torch.float32)])
def test_otherwise_one_timing_is_remembered(
    speedup: float, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with_features(monkeypatch, "avx512_bf16")
    monkeypatch.setattr(devices, "bfloat16_speedup", lambda: speedup)
    assert choose_dtype(CPU)[0] is expected
    monkeypatch.setattr(devices, "bfloat16_speedup", not_measured)
    dtype, reason = choose_dtype(CPU)
    assert dtype is expected and f"{speedup:.1f}" in reason
    with_features(monkeypatch, "avx512_bf16", "avx512_fp16")
    monkeypatch.setattr(devices, "bfloat16_speedup", lambda: 3.0)
    assert "3.0" in choose_dtype(CPU)[1]  # another CPU, as in a home folder that several machines share
    assert len(list(cache_folder().iterdir())) == 2


def test_where_nothing_can_be_remembered_the_type_is_float32(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    assert remembered_speedup(blocked / "cache", lambda: 2.0) is None
    assert remembered_speedup(tmp_path / "cache", lambda: 2.0) == 2.0
    (kept,) = (tmp_path / "cache").iterdir()
    for text in ("", "[]", json.dumps({"bfloat16_speedup": "fast"})):
        kept.write_text(text)
        remembered_speedup.cache_clear()
        assert remembered_speedup(tmp_path / "cache", lambda: 2.0) is None


def test_processes_that_start_together_agree(tmp_path: Path) -> None:
    command = [sys.executable, "-c", MEASURE, str(tmp_path)]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ)) for _ in range(CONCURRENT)
    ]
    answers = {process.communicate()[0] for process in running}
    assert len(answers) == 1 and 1 <= float(answers.pop()) <= 2


def test_a_timing_is_a_plausible_ratio() -> None:
    assert 0.01 < devices.bfloat16_speedup() < 100


def test_training_starts_again_with_huge_pages_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, list[str]]] = []
    monkeypatch.setattr("os.execv", lambda program, arguments: calls.append((program, arguments)))
    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.36"))
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "impasto", "--quiet", "train", "in"])
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.check=3")
    restart_with_huge_pages(["generate", "icons"])
    assert not calls
    restart_with_huge_pages(["--quiet", "train", "in"])
    assert calls == [(sys.executable, [sys.executable, "-m", "impasto", "--quiet", "train", "in"])]
    assert os.environ["GLIBC_TUNABLES"] == "glibc.malloc.check=3:glibc.malloc.hugetlb=1"
    restart_with_huge_pages(["train", "in"])
    monkeypatch.setenv("GLIBC_TUNABLES", "")
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    restart_with_huge_pages(["train", "in"])
    assert len(calls) == 1
