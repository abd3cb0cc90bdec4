"""A whole model: the autoencoder and the prior flow, and the one file that holds them."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import nn

from impasto.atomic import write_tensors
from impasto.config import ModelConfig, build, to_json
from impasto.errors import ImpastoError
from impasto.migration import CURRENT, Kind, migrate, migrate_names
from impasto.model.autoencoder import Autoencoder
from impasto.model.blocks import channels_last
from impasto.model.caption_predictor import CaptionPredictor
from impasto.model.gaussian import Gaussian
from impasto.model.prior import PriorFlow


class Impasto(nn.Module):
    """Encoders, fuser and decoder; the prior; and an auxiliary predictor of captions if trained with text."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.autoencoder = Autoencoder(config)
        self.prior = PriorFlow(config)
        self.caption_predictor = CaptionPredictor(config) if config.text_dim else None


def save_model(model: Impasto, path: Path, *, styles: Gaussian | None = None, half: bool = False) -> None:
    """Write weights and config (in the header) to a safetensors file, atomically.

    ``styles`` are the pooled styles of all collections, (collection, style_dim). With ``half``, numbers are rounded to
    half precision, for models that are distributed.
    """
    header = {"format": str(CURRENT), "config": to_json(model.config)}
    tensors = model.state_dict()
    if styles is not None:
        tensors["collection_styles"] = styles.stack()
    if half:
        tensors = {name: tensor.half() for name, tensor in tensors.items()}
    write_tensors(path, tensors, header)


def load_model(path: Path) -> tuple[Impasto, Gaussian | None]:
    """Read a model and its collections' styles from a safetensors file; no code is executed.

    Raises ImpastoError when the file is damaged, not a model, or of a newer format.
    """
    with _opened(path) as file:
        header = file.metadata() or {}
        tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    config = _shape(header, path)
    tensors = migrate_names(tensors, header.get("format"), f"header of {path}")
    stacked = tensors.pop("collection_styles", None)
    styles = Gaussian.unstack(stacked) if stacked is not None else None
    model = Impasto(config)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise ImpastoError(f"{path} does not fit its own config: {json.dumps(str(error))[:300]}") from error
    return channels_last(model.eval().requires_grad_(False)), styles


def read_shape(path: Path) -> ModelConfig:
    """The shape of a model, from the header of its file alone; raises as `load_model` does."""
    with _opened(path) as file:
        return _shape(file.metadata() or {}, path)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise ImpastoError(f"{path} is not a readable model file ({error}).") from error


def _shape(header: dict[str, str], path: Path) -> ModelConfig:
    if "config" not in header:
        raise ImpastoError(f"{path} is not an Impasto model: its header has no config.")
    source = f"header of {path}"
    try:
        values = json.loads(header["config"])
    except ValueError as error:
        raise ImpastoError(f"{source} is not JSON: {error}") from error
    return build(ModelConfig, migrate(Kind.MODEL, values, header.get("format"), source), source)


def fingerprint_of(path: Path) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of a model file: what recipes and vectors refer to."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:16]
