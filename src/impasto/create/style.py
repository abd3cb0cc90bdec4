"""Style references: collections, images and saved styles, pooled with weights into one Gaussian."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from impasto.config import ModelConfig
from impasto.create.style_file import SUFFIX, read_style
from impasto.data import read_images
from impasto.errors import ImpastoError, close_matches
from impasto.model.blocks import to_images
from impasto.model.gaussian import Gaussian
from impasto.model.impasto import Impasto
from impasto.references import MemoryImage, check_stored, location

MAX_REFERENCES = 1024
"""Maximum number of images in one folder or archive of references."""


@dataclass(frozen=True)
class Reference:
    """One entry of --style: the name of a collection, the path of images or a saved style, or an image in memory."""

    source: str
    weight: float
    is_collection: bool


def parse_reference(text: str, collections: Sequence[str]) -> Reference:
    """Read ``NAME`` or ``NAME:WEIGHT``. Raises ImpastoError for unknown names and unusable weights."""
    source, weight = split_weight(text, collections)
    if weight == 0:
        raise ImpastoError(f"--style {text}: use a weight above 0.")
    is_collection = source in collections
    if not (is_collection or isinstance(source, MemoryImage) or Path(source).exists()):
        check_stored(source)
        hint = f" (it has {', '.join(collections[:20])}{', ...' if len(collections) > 20 else ''})."
        if matches := close_matches(source, collections):
            hint = f"; did you mean {' or '.join(matches)}?"
        raise ImpastoError(f"--style {source}: neither a file nor a collection of this model{hint}")
    return Reference(source, weight, is_collection)


def split_weight(text: str, names: Sequence[str] = ()) -> tuple[str, float]:
    """Split ``SOURCE:WEIGHT``. The weight is 1 by default, and if the whole text is a file or one of ``names``.

    The source of an image in memory is a MemoryImage. Raises ImpastoError for a weight below 0.
    """
    source, colon, number = text.rpartition(":")
    if text in names or Path(text).exists() or not colon:
        return text, 1.0
    try:
        weight = float(number)
    except ValueError:
        return text, 1.0
    if not (math.isfinite(weight) and weight >= 0):
        raise ImpastoError(f"{text}: use a weight from 0 up.")
    return (text.without_weight() if isinstance(text, MemoryImage) else source), weight


@torch.no_grad()
def pooled_style(
    model: Impasto, styles: Gaussian | None, references: Sequence[Reference], fingerprint: str
) -> tuple[Gaussian | None, dict[str, str]]:
    """The pooled style of ``references``, (1, style_dim), and the content hash of each image and saved style.

    The logarithmic opinion pool has weights that sum to one, so its precision does not depend on the number of
    references. References are sorted, so their order does not change a bit of the result. Without references the style
    is None: any style. ``fingerprint`` is that of the model. Raises ImpastoError for a saved style of another model,
    and for images that cannot be read.
    """
    if not references:
        return None, {}
    config: ModelConfig = model.config
    device = next(model.parameters()).device
    entries: list[tuple[str, float, Gaussian]] = []
    hashes: dict[str, str] = {}
    for reference in references:
        if reference.is_collection:
            assert styles is not None
            entries.append((reference.source, reference.weight, styles[[config.collections.index(reference.source)]]))
            continue
        if reference.source.endswith(SUFFIX):
            saved = read_style(Path(reference.source), fingerprint=fingerprint, style_dim=config.style_dim)
            digest = hashlib.sha256(Path(reference.source).read_bytes()).hexdigest()[:16]
            hashes[reference.source] = digest
            entries.append((digest, reference.weight, saved))
            continue
        source = location(reference.source, "", "style")
        loaded = read_images(source, resolution=config.resolution, channels=config.channels)
        if len(loaded.pixels) > MAX_REFERENCES:
            raise ImpastoError(f"--style {reference.source}: {len(loaded.pixels)} images, at most {MAX_REFERENCES}.")
        digests = [hashlib.sha256(p.tobytes()).hexdigest()[:16] for p in loaded.pixels]
        hashes[reference.source] = hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()[:16]
        for digest, pixels in zip(digests, loaded.pixels, strict=True):
            entries.append(
                (digest, reference.weight / len(digests), model.autoencoder.styles(to_images(pixels[None], device)))
            )
    entries.sort(key=lambda entry: (entry[0], entry[1]))
    styles = Gaussian.cat([style.to(device) for _, _, style in entries])
    weights = torch.tensor([[weight for _, weight, _ in entries]], dtype=torch.float32, device=device)
    return styles.pool(weights / weights.sum()), hashes
