"""Atomic writes: a reader sees the old file or the complete new one."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from impasto.errors import ImpastoError


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
        raise ImpastoError(f"cannot write {path}: {reason}. Free some space or choose another --out.") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text_atomically(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8 to ``path``, atomically."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
