"""Style by reference: collections and images, weighed and pooled into one Gaussian of the style level."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from impasto.config import ModelConfig
from impasto.create.style_file import SUFFIX, read_style
from impasto.data import read_images
from impasto.errors import ImpastoError
from impasto.model.blocks import to_images
from impasto.model.gaussian import Gaussian
from impasto.model.impasto import Impasto

MAX_REFERENCES = 1024


@dataclass(frozen=True)
class Reference:
    """One entry of --style and its weight: a collection by name, or images or a saved style by path."""

    source: str
    weight: float
    is_collection: bool


def parse_reference(text: str, collections: Sequence[str]) -> Reference:
    """Read ``NAME`` or ``NAME:WEIGHT``. Raises ImpastoError for unknown names and unusable weights."""
    source, weight = with_weight(text, collections)
    if weight == 0:
        raise ImpastoError(f"--style {text}: a weight must be a number above 0.")
    if source not in collections and not Path(source).exists():
        known = ", ".join(collections[:20]) + (", ..." if len(collections) > 20 else "")
        raise ImpastoError(f"--style {source}: neither a file nor a collection of this model (it has {known}).")
    return Reference(source, weight, source in collections)


def with_weight(text: str, names: Sequence[str] = ()) -> tuple[str, float]:
    """Split ``SOURCE:WEIGHT``; the weight is 1 where there is none, or where all of it is a file or one of ``names``.

    Raises ImpastoError for weights below 0.
    """
    source, colon, number = text.rpartition(":")
    if text in names or Path(text).exists() or not colon:
        return text, 1.0
    try:
        weight = float(number)
    except ValueError:
        return text, 1.0
    if not (math.isfinite(weight) and weight >= 0):
        raise ImpastoError(f"{text}: a weight must be a number from 0.")
    return source, weight


@torch.no_grad()
def pooled_style(
    model: Impasto, styles: Gaussian | None, references: Sequence[Reference], fingerprint: str
) -> tuple[Gaussian | None, dict[str, str]]:
    """The pooled style of ``references``, (1, style_dim), and the content hash of each that is no collection.

    A logarithmic opinion pool with weights that sum to one: neither the number of references nor their order changes
    the strength, and the order changes not even a bit. None where there are no references: any style. ``fingerprint``
    is the model's: saved styles of another are refused.
    """
    if not references:
        return None, {}
    config: ModelConfig = model.config
    device = next(model.parameters()).device
    found: list[tuple[str, float, Gaussian]] = []
    hashes: dict[str, str] = {}
    for reference in references:
        if reference.is_collection:
            assert styles is not None
            found.append((reference.source, reference.weight, styles[[config.collections.index(reference.source)]]))
            continue
        if reference.source.endswith(SUFFIX):
            saved = read_style(Path(reference.source), fingerprint=fingerprint, style_dim=config.style_dim)
            digest = hashlib.sha256(Path(reference.source).read_bytes()).hexdigest()[:16]
            hashes[reference.source] = digest
            found.append((digest, reference.weight, saved))
            continue
        loaded = read_images(Path(reference.source), resolution=config.resolution, channels=config.channels)
        if len(loaded.pixels) > MAX_REFERENCES:
            raise ImpastoError(f"--style {reference.source}: {len(loaded.pixels)} images, at most {MAX_REFERENCES}.")
        digests = [hashlib.sha256(p.tobytes()).hexdigest()[:16] for p in loaded.pixels]
        hashes[reference.source] = hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()[:16]
        for digest, pixels in zip(digests, loaded.pixels, strict=True):
            found.append(
                (digest, reference.weight / len(digests), model.autoencoder.styles(to_images(pixels[None], device)))
            )
    found.sort(key=lambda entry: (entry[0], entry[1]))
    styles = Gaussian.cat([style.to(device) for _, _, style in found])
    weights = torch.tensor([[weight for _, weight, _ in found]], dtype=torch.float32, device=device)
    return styles.pool(weights / weights.sum()), hashes
