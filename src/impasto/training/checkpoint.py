"""The complete state of a run in one file, and the model in another; both written whole or not at all."""

import json
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from impasto.atomic import write_tensors
from impasto.errors import ImpastoError
from impasto.migration import CURRENT, Kind, migrate, migrate_names


@dataclass(frozen=True)
class Checkpoint:
    """Tensors and numbers."""

    tensors: dict[str, Tensor]
    numbers: dict[str, float]


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write ``checkpoint`` to ``path`` (safetensors, the numbers as JSON in its header), atomically."""
    header = {"format": str(CURRENT), "numbers": json.dumps(checkpoint.numbers)}
    write_tensors(path, checkpoint.tensors, header)


def read_checkpoint(path: Path) -> Checkpoint | None:
    """The checkpoint at ``path``, None if there is no such file.

    Raises ImpastoError when the file is damaged or of a newer format.
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            version, numbers = header.get("format"), json.loads(header["numbers"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            numbers = migrate(Kind.STATE, migrate_names(numbers, version, str(path)), version, str(path))
            return Checkpoint(migrate_names(tensors, version, str(path)), numbers)
    except (SafetensorError, ValueError, KeyError, OSError) as error:
        if isinstance(error, ImpastoError):
            raise
        raise ImpastoError(f"{path} is damaged ({error}); remove it to train the run afresh.") from error
