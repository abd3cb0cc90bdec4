"""Files of latents: round trips, and damaged or huge files, which are refused."""

import importlib.util
import io
import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from impasto.create import vectors as module
from impasto.create.vectors import Latents, check_writable
from impasto.errors import ImpastoError

SUFFIXES = [
    ".npz",
    pytest.param(
        ".parquet",
        marks=pytest.mark.skipif(importlib.util.find_spec("pyarrow") is None, reason="pyarrow is not installed"),
    ),
]


def latents(**changes: object) -> Latents:
    generator = np.random.default_rng(0)
    shapes = {"style": (3, 5), "stride32": (3, 4, 1, 2), "stride16": (3, 2, 2, 4), "stride8": (3, 1, 4, 8)}
    values = {
        "names": ("a.png", "b\0.png", "dir/日本 \udcff.png"),
        "levels": {name: generator.standard_normal(shape, np.float32) for name, shape in shapes.items()},
        "fingerprint": "0123456789abcdef",
    }
    return Latents(**(values | changes))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_round_trip(tmp_path: Path, suffix: str) -> None:
    before = latents() if suffix == ".npz" else latents(names=("a.png", "b.png", "dir/日本.png"))
    before.save(tmp_path / f"v{suffix}")
    after = Latents.load(tmp_path / f"v{suffix}")
    assert after.names == before.names and after.fingerprint == before.fingerprint
    assert list(after.levels) == list(before.levels)
    for name, values in before.levels.items():
        assert after.levels[name].dtype == np.float32
        assert np.array_equal(after.levels[name], values)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_cut_and_foreign_files(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"v{suffix}"
    latents(names=("a", "b", "c")).save(path)
    whole = path.read_bytes()
    for content in (b"", b"hello", whole[:100], whole[:-1], whole[len(whole) // 2 :]):
        path.write_bytes(content)
        with pytest.raises(ImpastoError) as caught:
            Latents.load(path)
        assert str(path) in str(caught.value)


def test_flipped_bytes_give_the_values_or_an_error(tmp_path: Path) -> None:
    path = tmp_path / "v.npz"
    latents().save(path)
    whole = path.read_bytes()
    failures = 0
    for i in range(0, len(whole), 11):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 0xFF]) + whole[i + 1 :])
        try:
            Latents.load(path)
        except ImpastoError as error:
            failures += 1
            assert str(path) in str(error)
    assert failures > 20


def write(path: Path, **changes: object) -> Path:
    """A file with arrays changed, or left out where the change is None."""
    names = np.frombuffer(json.dumps(["a", "b"]).encode(), np.uint8)
    arrays = {"format": np.array(2), "fingerprint": np.array("x"), "names": names}
    arrays |= {"level.style": np.zeros((2, 3), np.float32)} | changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": None}, "not a file of vectors"),
        ({"names": None}, "not a file of vectors"),
        ({"fingerprint": None}, "not a file of vectors"),
        ({"level.style": None}, "0 levels"),
        ({"format": np.array(3)}, "newer Impasto"),
        ({"format": np.array(1.5)}, "names no format"),
        ({"names": np.frombuffer(b"[1, 2]", np.uint8)}, "not a list of strings"),
        (
            {"names": np.frombuffer(b"[]", np.uint8), "level.style": np.zeros((0, 3), np.float32)},
            "no images",
        ),
        ({"level.style": np.zeros((3, 3), np.float32)}, "3 images, and there are 2 names"),
        ({"level.style": np.zeros((2, 3, 4), np.float32)}, "expected float32 vectors or maps"),
        ({"level.style": np.zeros((2, 3))}, "float64"),
        (
            {"level.style": np.array([[1, np.nan], [0, 0]], np.float32)},
            "level style has values that are not finite",
        ),
        ({"level.style": np.array([[{}], [{}]], object)}, "exceeds its size|Object arrays"),
        ({"level.../x": np.zeros((2, 3), np.float32)}, "not a valid name of a level"),
        ({f"level.a{i}": np.zeros((2, 1), np.float32) for i in range(40)}, "too large"),
    ],
)
def test_wrong_contents(tmp_path: Path, changes: dict, message: str) -> None:
    path = write(tmp_path / "v.npz", **changes)
    with pytest.raises(ImpastoError, match=message) as caught:
        Latents.load(path)
    assert str(path) in str(caught.value)


def test_size_limit_holds_before_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "v.npz", **{"level.big": np.zeros((2, 100_000), np.float32)})
    monkeypatch.setattr(module, "MAX_BYTES", 100_000)
    monkeypatch.setattr(np, "load", lambda *a, **k: pytest.fail("read"))
    with pytest.raises(ImpastoError, match="too large"):
        Latents.load(path)


def test_header_that_promises_terabytes(tmp_path: Path) -> None:
    path = write(tmp_path / "v.npz", **{"level.style": None})
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (2, 2**40)})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("level.style.npy", header.getvalue() + b"\0" * 64)
    with pytest.raises(ImpastoError, match=r"level\.style\.npy exceeds its size"):
        Latents.load(path)


def test_missing_file_and_suffix(tmp_path: Path) -> None:
    with pytest.raises(ImpastoError, match=r"cannot read .*v\.npz: No such file"):
        Latents.load(tmp_path / "v.npz")
    with pytest.raises(ImpastoError, match=r"v\.csv: vectors are kept in"):
        latents().save(tmp_path / "v.csv")


def test_parquet_without_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for act in (check_writable, latents().save, Latents.load):
        with pytest.raises(ImpastoError, match=r'pip install -e "\.\[parquet\]"'):
            act(tmp_path / "v.parquet")
    assert not list(tmp_path.iterdir())


def test_wrong_parts_in_memory() -> None:
    with pytest.raises(ImpastoError, match="no images"):
        latents(names=(), levels={})
    with pytest.raises(ImpastoError, match="3 images, and there are 1 names"):
        latents(names=("a",))
