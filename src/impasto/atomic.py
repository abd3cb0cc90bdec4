"""Atomic writes: a reader sees the old file or the complete new one."""

import errno
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from impasto.errors import ImpastoError

if TYPE_CHECKING:
    from torch import Tensor

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors that more space solves."""
HEADER_ALIGNMENT = 8
"""Bytes; the header of a safetensors file is padded with spaces to a multiple."""


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call ``write`` with a temporary path in the folder of ``path``, sync the file to disk and rename it to ``path``.

    The temporary path has the suffix of ``path``, because writers can choose a format by it. Raises ImpastoError if the
    disk is full or the folder cannot be written; an existing file is then unchanged.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
        os.close(descriptor)
        temporary = Path(name)
        write(temporary)
        with temporary.open("rb+") as handle:
            os.fsync(handle.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        reason = error.strerror or str(error)
        remedy = "Free some space or choose another --out" if error.errno in FULL else "Choose another --out"
        raise ImpastoError(f"cannot write {path}: {reason}. {remedy}.") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text_atomically(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8 to ``path``, atomically."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_tensors(path: Path, tensors: "Mapping[str, Tensor]", header: Mapping[str, str]) -> None:
    """Write tensors and the texts of ``header`` as safetensors, atomically; equal contents give equal bytes.

    The library orders the header's texts by a hash that differs from one process to the next.
    """
    from safetensors.torch import save  # torch takes seconds to import

    contents = save({name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}, dict(header))
    length = int.from_bytes(contents[:8], "little")
    ordered = json.dumps(json.loads(contents[8 : 8 + length]), sort_keys=True, separators=(",", ":")).encode()
    ordered += b" " * (-len(ordered) % HEADER_ALIGNMENT)

    def write(temporary: Path) -> None:
        # Bytes, not the library's own file writing: a full disk is then the OSError that it is everywhere else.
        with temporary.open("wb") as file:
            file.write(len(ordered).to_bytes(8, "little"))
            file.write(ordered)
            file.write(memoryview(contents)[8 + length :])

    write_atomically(path, write)
