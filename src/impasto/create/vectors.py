"""Latents in .npz and .parquet files, for other programs and for decoding."""

import importlib
import json
import math
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from impasto.atomic import write_atomically
from impasto.errors import ImpastoError
from impasto.migration import CURRENT, Kind, migrate

MAX_BYTES = 8 * 1024**3
"""Maximum size of the arrays of one file in memory."""
MAX_LEVELS = 16
"""Maximum number of levels in one file."""
_LEVEL = "level."


@dataclass(frozen=True, eq=False)
class Latents:
    """Latents of n images at every level, coarse to fine. Raises ImpastoError for inconsistent values."""

    names: tuple[str, ...]
    """One name per image."""
    levels: Mapping[str, np.ndarray]
    """Level name to float32 array: (n, d) for a vector, (n, channels, height, width) for a map."""
    fingerprint: str
    """Fingerprint of the model. Another model cannot decode them."""

    def __post_init__(self) -> None:
        if not self.names:
            raise ImpastoError("there are latents of no images.")
        if not 1 <= len(self.levels) <= MAX_LEVELS:
            raise ImpastoError(f"there are {len(self.levels)} levels: use 1 to {MAX_LEVELS}.")
        for name, values in self.levels.items():
            if not re.fullmatch(r"[a-z][a-z0-9_]{0,31}", name):
                raise ImpastoError(f"{name!r} is not a valid name of a level.")
            if values.dtype != np.float32 or values.ndim not in (2, 4) or 0 in values.shape:
                raise ImpastoError(
                    f"level {name}: expected float32 vectors or maps, not {values.dtype} {values.shape}."
                )
            if len(values) != len(self.names):
                raise ImpastoError(f"level {name} has {len(values)} images, and there are {len(self.names)} names.")
            if not np.isfinite(values).all():
                raise ImpastoError(f"level {name} has values that are not finite.")
        if sum(values.nbytes for values in self.levels.values()) > MAX_BYTES:
            raise ImpastoError(f"the latents have more than {MAX_BYTES >> 30} GiB: encode fewer images at a time.")

    def save(self, path: Path) -> None:
        """Write a .npz or .parquet file, atomically. Raises ImpastoError for another suffix."""
        if _suffix(path) == ".parquet":
            pyarrow, parquet = _arrow(path)
            table = _to_table(self, pyarrow)
            write_atomically(path, lambda temporary: parquet.write_table(table, temporary))
            return
        arrays: dict[str, Any] = {
            "format": np.array(CURRENT),
            "fingerprint": np.array(self.fingerprint),
            # Bytes: an array of unicode would drop trailing zeros, and pad every name to the longest.
            "names": np.frombuffer(json.dumps(self.names).encode("ascii"), np.uint8),
        }
        arrays |= {_LEVEL + name: values for name, values in self.levels.items()}
        write_atomically(path, lambda temporary: np.savez_compressed(temporary, **arrays))

    @staticmethod
    def load(path: Path) -> "Latents":
        """Read a file that `save` wrote. Raises ImpastoError for a damaged, newer or too large file."""
        reader = _from_parquet if _suffix(path) == ".parquet" else _from_npz
        try:
            return reader(path)
        except ImpastoError as error:
            message = str(error)
            raise ImpastoError(message if str(path) in message else f"{path}: {message}") from error
        except OSError as error:
            reason = error.strerror or str(error)
            raise ImpastoError(f"cannot read {path}: {reason}.") from error


def check_writable(path: Path) -> None:
    """Raise ImpastoError if the suffix of ``path`` is unknown, or pyarrow is needed and not installed."""
    if _suffix(path) == ".parquet":
        _arrow(path)


def _suffix(path: Path) -> str:
    if (suffix := path.suffix.lower()) in (".npz", ".parquet"):
        return suffix
    raise ImpastoError(f"{path}: vectors are kept in .npz or .parquet files.")


def _from_npz(path: Path) -> Latents:
    try:
        with zipfile.ZipFile(path) as archive:
            _check_sizes(archive)
        with np.load(path, allow_pickle=False) as arrays:
            header = {key: arrays[key] for key in arrays.files if not key.startswith(_LEVEL)}
            header = migrate(Kind.VECTORS, header, arrays["format"].item(), str(path))
            return Latents(
                names=_names(bytes(header["names"])),
                levels={key.removeprefix(_LEVEL): arrays[key] for key in arrays.files if key.startswith(_LEVEL)},
                fingerprint=str(header["fingerprint"].item()),
            )
    except (ImpastoError, OSError):
        raise
    except KeyError as error:
        raise ImpastoError(f"not a file of vectors: {error.args[0]}.") from error
    except Exception as error:  # zipfile, zlib and numpy raise errors of many types
        raise ImpastoError(f"damaged, or not a file of vectors: {error}.") from error


def _check_sizes(archive: zipfile.ZipFile) -> None:
    """Raise ImpastoError for arrays that are too large, before any of them is read."""
    members = archive.infolist()
    if len(members) > MAX_LEVELS + 3 or sum(member.file_size for member in members) > MAX_BYTES:
        raise ImpastoError(f"too large: more than {MAX_LEVELS} levels or {MAX_BYTES >> 30} GiB.")
    for member in members:
        with archive.open(member) as handle:
            # numpy allocates memory by the header before it reads, so the header is compared with the size.
            version = np.lib.format.read_magic(handle)
            if version == (1, 0):
                shape, _, dtype = np.lib.format.read_array_header_1_0(handle)
            else:
                shape, _, dtype = np.lib.format.read_array_header_2_0(handle)
            if dtype.hasobject or math.prod(shape) * dtype.itemsize > member.file_size:
                raise ImpastoError(f"damaged: the header of {member.filename} exceeds its size.")


def _names(text: bytes) -> tuple[str, ...]:
    names = json.loads(text)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ImpastoError("damaged: its names are not a list of strings.")
    return tuple(names)


def _arrow(path: Path) -> tuple[ModuleType, ModuleType]:
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise ImpastoError(f'{path}: .parquet files need pyarrow: pip install -e ".[parquet]", or use .npz.') from error


def _to_table(latents: Latents, pyarrow: ModuleType) -> Any:
    columns = {"name": pyarrow.array(latents.names, pyarrow.string())}
    for name, values in latents.levels.items():
        flat = pyarrow.array(np.ascontiguousarray(values).reshape(-1))
        columns[name] = pyarrow.FixedSizeListArray.from_arrays(flat, math.prod(values.shape[1:]))
    shapes = {name: values.shape[1:] for name, values in latents.levels.items()}
    header = {"format": CURRENT, "fingerprint": latents.fingerprint, "shapes": shapes}
    return pyarrow.table(columns).replace_schema_metadata({"impasto": json.dumps(header)})


def _from_parquet(path: Path) -> Latents:
    pyarrow, parquet = _arrow(path)
    try:
        with parquet.ParquetFile(path) as file:
            groups = (file.metadata.row_group(i) for i in range(file.metadata.num_row_groups))
            if sum(group.total_byte_size for group in groups) > MAX_BYTES:
                raise ImpastoError(f"too large: more than {MAX_BYTES >> 30} GiB.")
            header = json.loads((file.schema_arrow.metadata or {}).get(b"impasto", b"{}"))
            header = migrate(Kind.VECTORS, header, header.get("format"), str(path))
            # Compressed columns can be tiny, so the shapes are compared with the limit too.
            shapes = {name: tuple(int(side) for side in shape) for name, shape in header["shapes"].items()}
            if file.metadata.num_rows * sum(math.prod(shape) for shape in shapes.values()) * 4 > MAX_BYTES:
                raise ImpastoError(f"too large: more than {MAX_BYTES >> 30} GiB.")
            table = file.read(columns=["name", *shapes])
            levels = {}
            for name, shape in shapes.items():
                chunks = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in table.column(name).chunks]
                levels[name] = np.concatenate(chunks).reshape(table.num_rows, *shape)
            return Latents(tuple(table.column("name").to_pylist()), levels, str(header["fingerprint"]))
    except (pyarrow.ArrowException, LookupError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, ImpastoError):
            raise
        raise ImpastoError(f"damaged, or not a file of vectors: {error}.") from error
