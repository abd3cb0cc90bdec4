"""A saved style: one Gaussian of a model's style level in a small file that applies it again anywhere."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from impasto.atomic import write_atomically
from impasto.errors import ImpastoError
from impasto.migration import CURRENT, Kind, migrate
from impasto.model.gaussian import Gaussian

SUFFIX = ".style"
MAX_BYTES = 1 << 20
"""A style is a few hundred numbers."""


def save_style(path: Path, style: Gaussian, *, fingerprint: str, sources: tuple[str, ...]) -> None:
    """Write a pooled style, (1, style_dim), with the fingerprint of its model and its sources, atomically.

    Raises ImpastoError for another suffix than .style.
    """
    if path.suffix != SUFFIX:
        raise ImpastoError(f"cannot write {path}: the name of a style ends in {SUFFIX}.")
    header = {"format": str(CURRENT), "fingerprint": fingerprint, "sources": json.dumps(sources)}
    tensors = {"mean": style.mean[0].cpu().contiguous(), "log_variance": style.log_variance[0].cpu().contiguous()}
    write_atomically(path, lambda temporary: temporary.write_bytes(save(tensors, header)))


def read_style(path: Path, *, fingerprint: str, style_dim: int) -> Gaussian:
    """Read a style that ``save_style`` wrote for the model with this ``fingerprint``: (1, style_dim).

    Raises ImpastoError for files that are damaged, of a newer format, or of another model.
    """
    header, tensors = _read(path)
    if header["fingerprint"] != fingerprint:
        raise ImpastoError(
            f"{path} is a style of another model: its weights are {header['fingerprint']}, and not {fingerprint}."
        )
    mean, log_variance = (tensors.get(name, torch.empty(0)).float() for name in ("mean", "log_variance"))
    finite = bool(torch.isfinite(mean).all() and torch.isfinite(log_variance).all())
    if mean.shape != (style_dim,) or log_variance.shape != (style_dim,) or not finite:
        raise ImpastoError(f"{path} is damaged: it does not hold a style of {style_dim} numbers.")
    return Gaussian(mean[None], log_variance[None])


def describe(path: Path) -> tuple[str, tuple[str, ...]]:
    """The fingerprint of a style's model, and the style's sources. Raises ImpastoError as `read_style` does."""
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
        is_whole = isinstance(json.loads(header["sources"]), list) and bool(header["fingerprint"])
    except (KeyError, ValueError):
        is_whole = False
    if not is_whole:
        raise ImpastoError(f"{path} is damaged: its header does not say which model it is of, and made of what.")
    return header, tensors
