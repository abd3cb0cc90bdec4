"""A whole model: the autoencoder and the prior flow, and the one file that holds them."""

import hashlib
import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from impasto.atomic import write_atomically
from impasto.config import ModelConfig, from_json, to_json
from impasto.errors import ImpastoError
from impasto.model.autoencoder import Autoencoder
from impasto.model.blocks import channels_last
from impasto.model.captions import CaptionReader
from impasto.model.prior import PriorFlow

FORMAT = 1
"""Version of the weights file; raised with a migration whenever the meaning of a tensor or setting changes."""


class Impasto(nn.Module):
    """Encoders, fuser and decoder; the prior; and, where it has learned captions, what reads them from pictures."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.autoencoder = Autoencoder(config)
        self.prior = PriorFlow(config)
        self.captions = CaptionReader(config) if config.text_dim else None


def save_model(model: Impasto, path: Path, *, styles: torch.Tensor | None = None, half: bool = False) -> None:
    """Write weights and config (in the header) to a safetensors file, atomically.

    ``styles`` holds the pooled style of every collection, mean and log-variance: (collection, 2, style_dim). With
    ``half``, numbers are rounded to half precision: half of the size, for models that are passed on.
    """
    header = {"format": str(FORMAT), "config": to_json(model.config)}
    tensors = {name: tensor.detach().contiguous().cpu() for name, tensor in model.state_dict().items()}
    if styles is not None:
        tensors["collection_styles"] = styles.detach().contiguous().cpu()
    if half:
        tensors = {name: tensor.half() for name, tensor in tensors.items()}
    write_atomically(path, lambda temporary: temporary.write_bytes(save(tensors, header)))


def load_model(path: Path) -> tuple[Impasto, torch.Tensor | None]:
    """Read a model and its collections' styles from a safetensors file; no code is executed.

    Raises ImpastoError when the file is damaged, not a model, or of a newer format.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ImpastoError(f"{path} is not a readable model file ({error}).") from error
    if "config" not in header:
        raise ImpastoError(f"{path} is not an Impasto model: its header has no config.")
    if header.get("format") != str(FORMAT):
        raise ImpastoError(f"{path} has format {header.get('format')}, this version reads {FORMAT}; update Impasto.")
    config = from_json(ModelConfig, header["config"], f"header of {path}")
    styles = tensors.pop("collection_styles", None)
    model = Impasto(config)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise ImpastoError(f"{path} does not fit its own config: {json.dumps(str(error))[:300]}") from error
    return channels_last(model.eval().requires_grad_(False)), styles


def fingerprint_of(path: Path) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of a model file: what recipes and vectors refer to."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:16]
