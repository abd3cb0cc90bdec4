"""Style files: one Gaussian of the style level, saved for one model."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from impasto.atomic import write_tensors
from impasto.errors import ImpastoError
from impasto.migration import CURRENT, Kind, migrate
from impasto.model.gaussian import Gaussian

SUFFIX = ".style"
MAX_BYTES = 1 << 20
"""Maximum size of a style file. A style has a few hundred numbers."""


def save_style(path: Path, style: Gaussian, *, fingerprint: str, sources: tuple[str, ...]) -> None:
    """Write a pooled style, (1, style_dim), with the fingerprint of its model and its sources, atomically.

    Raises ImpastoError for another suffix than .style.
    """
    if path.suffix != SUFFIX:
        raise ImpastoError(f"cannot write {path}: the name of a style file ends in {SUFFIX}.")
    header = {"format": str(CURRENT), "fingerprint": fingerprint, "sources": json.dumps(sources)}
    write_tensors(path, {"mean": style.mean[0], "log_variance": style.log_variance[0]}, header)


def read_style(path: Path, *, fingerprint: str, style_dim: int) -> Gaussian:
    """Read a style, (1, style_dim), that `save_style` wrote for the model with this ``fingerprint``.

    Raises ImpastoError for a file that is damaged, of a newer format, or of another model.
    """
    header, tensors = _read(path)
    if header["fingerprint"] != fingerprint:
        raise ImpastoError(
            f"{path} belongs to another model: its fingerprint is {header['fingerprint']}, not {fingerprint}."
        )
    mean, log_variance = (tensors.get(name, torch.empty(0)).float() for name in ("mean", "log_variance"))
    is_finite = bool(torch.isfinite(mean).all() and torch.isfinite(log_variance).all())
    if mean.shape != (style_dim,) or log_variance.shape != (style_dim,) or not is_finite:
        raise ImpastoError(f"{path} is damaged: it does not hold a style of {style_dim} numbers.")
    return Gaussian(mean[None], log_variance[None])


def describe(path: Path) -> tuple[str, tuple[str, ...]]:
    """The fingerprint of the model, and the sources that were pooled. Raises ImpastoError for a damaged file."""
    header, _ = _read(path)
    return header["fingerprint"], tuple(map(str, json.loads(header["sources"])))


def _read(path: Path) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ImpastoError(f"{path} is too large for a saved style.")
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ImpastoError(f"{path} is not a readable style ({error}).") from error
    header = migrate(Kind.STYLE, header, header.get("format"), str(path))
    try:
        is_complete = isinstance(json.loads(header["sources"]), list) and bool(header["fingerprint"])
    except (KeyError, ValueError):
        is_complete = False
    if not is_complete:
        raise ImpastoError(f"{path} is damaged: its header lacks the fingerprint of the model or the sources.")
    return header, tensors
