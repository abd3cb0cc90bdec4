"""What the measuring network saw of a set of images."""

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
from impasto.backbone import MEASURED_SIDE, Backbone, Lite, channel_statistics

FORMAT = 1
"""Change it when the same images would give other features: what is kept on disk is then not used."""


@dataclass(frozen=True)
class ImageFeatures:
    """A set of images as evaluation sees them, a row each, on the CPU."""

    pixels: UInt8[Tensor, "image channel height width"]
    """RGB over white, and alpha where there is one."""
    pooled: Float[Tensor, "image feature"]
    """What is in it: EfficientNet-Lite2's pooled features."""
    statistics: Float[Tensor, "image statistic"]
    """How it looks: channel means and standard deviations of the early maps."""

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
    """Features of batches of images in [0, 1]. Raises ValueError where there are none."""
    device = next(backbone.parameters()).device
    pixels, pooled, statistics = [], [], []
    for batch in batches:
        maps, features = backbone.maps_and_pooled(batch.to(device))
        pixels.append((batch * 255).round().clamp(0, 255).byte().cpu())
        pooled.append(features.float().cpu())
        statistics.append(channel_statistics(maps).cpu())
    if not pixels:
        raise ValueError("no images to look at")
    return ImageFeatures(torch.cat(pixels), torch.cat(pooled), torch.cat(statistics))


def cached_features(
    folder: Path, pixels: UInt8[Tensor, "image channel height width"], make: Callable[[], ImageFeatures]
) -> ImageFeatures:
    """The features of ``pixels``, from a file in ``folder`` if they were computed before, else from ``make``."""
    digest = hashlib.blake2b(f"{FORMAT} {Lite.LITE2} {MEASURED_SIDE} {tuple(pixels.shape)}".encode(), digest_size=16)
    digest.update(pixels.numpy().data)
    file = folder / f"features-{digest.hexdigest()}.safetensors"
    try:
        found = load_file(file)
        return ImageFeatures(pixels, found["pooled"], found["statistics"])
    except (OSError, SafetensorError, KeyError):
        # Missing or cut off: it is made again.
        features = make()
    tensors = {"pooled": features.pooled.contiguous(), "statistics": features.statistics.contiguous()}
    write_atomically(file, lambda temporary: temporary.write_bytes(save(tensors)))
    return features
