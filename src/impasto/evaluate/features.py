"""Features of a set of images in the evaluation network, and their cache."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from impasto.atomic import write_atomically
from impasto.backbone import EVALUATION_SIDE, Backbone, Lite, channel_statistics

FORMAT = 1
"""Increment it when features of the same images change: older caches are then not used."""


@dataclass(frozen=True)
class ImageFeatures:
    """Pixels and features of a set of images, one row per image, on the CPU."""

    pixels: UInt8[Tensor, "image channel height width"]
    """RGB over white, and alpha if there is a fourth channel."""
    pooled: Float[Tensor, "image feature"]
    """Content: EfficientNet-Lite2's pooled features."""
    statistics: Float[Tensor, "image statistic"]
    """Style: channel means and standard deviations of the early maps."""

    def __len__(self) -> int:
        return len(self.pooled)

    def __add__(self, other: "ImageFeatures") -> "ImageFeatures":
        return ImageFeatures(
            torch.cat([self.pixels, other.pixels]),
            torch.cat([self.pooled, other.pooled]),
            torch.cat([self.statistics, other.statistics]),
        )

    def __getitem__(self, rows: Tensor | slice) -> "ImageFeatures":
        return ImageFeatures(self.pixels[rows], self.pooled[rows], self.statistics[rows])


@torch.no_grad()
def extract_features(
    batches: Iterable[Float[Tensor, "_batch channel height width"]], backbone: Backbone
) -> ImageFeatures:
    """Features of batches of images in [0, 1]. Raises ValueError without images."""
    device = next(backbone.parameters()).device
    pixels, pooled, statistics = [], [], []
    for batch in batches:
        maps, features = backbone.maps_and_pooled(batch.to(device))
        pixels.append((batch * 255).round().clamp(0, 255).byte().cpu())
        pooled.append(features.float().cpu())
        statistics.append(channel_statistics(maps).cpu())
    if not pixels:
        raise ValueError("no images to extract features from")
    return ImageFeatures(torch.cat(pixels), torch.cat(pooled), torch.cat(statistics))


def cached_features(
    folder: Path, pixels: UInt8[Tensor, "image channel height width"], compute: Callable[[], ImageFeatures]
) -> ImageFeatures:
    """The features of ``pixels``, from a file in ``folder`` if it exists, else from ``compute``."""
    digest = hashlib.blake2b(f"{FORMAT} {Lite.LITE2} {EVALUATION_SIDE} {tuple(pixels.shape)}".encode(), digest_size=16)
    digest.update(pixels.numpy().data)
    file = folder / f"features-{digest.hexdigest()}.safetensors"
    try:
        tensors = load_file(file)
        return ImageFeatures(pixels, tensors["pooled"], tensors["statistics"])
    except (OSError, SafetensorError, KeyError):
        # Missing or truncated: compute it again.
        features = compute()
    tensors = {"pooled": features.pooled.contiguous(), "statistics": features.statistics.contiguous()}
    write_atomically(file, lambda temporary: temporary.write_bytes(save(tensors)))
    return features
