"""Reconstruction quality."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from impasto.backbone import Backbone, feature_distance
from impasto.model.blocks import Map


@dataclass(frozen=True)
class Faithfulness:
    """Similarity of reconstructions to their images, on RGB over white."""

    psnr: Float[Tensor, " image"]
    """Peak signal-to-noise ratio in dB, at most 100."""
    ssim: Float[Tensor, " image"]
    """Structural similarity (Wang 2004), 1 for equal images."""
    feature: Float[Tensor, " image"]
    """Distance of EfficientNet-Lite2's early features, 0 for equal images: the form of LPIPS without its weights."""


@torch.no_grad()
def faithfulness(versions: Iterable[Map], image: Map, backbone: Backbone) -> list[Faithfulness]:
    """Compare each of several ``versions`` of images in [0, 1] with the images."""
    from torchmetrics.functional.image.ssim import structural_similarity_index_measure

    image = image[:, :3].contiguous()
    maps, results = backbone(image), []
    for version in versions:
        decoded = version[:, :3].contiguous()
        similarity = structural_similarity_index_measure(decoded, image, data_range=1.0, reduction="none")
        assert isinstance(similarity, Tensor)
        psnr = peak_signal_to_noise(decoded, image)
        results.append(Faithfulness(psnr, similarity, feature_distance(backbone(decoded), maps)))
    return results


def peak_signal_to_noise(output: Map, image: Map) -> Float[Tensor, " image"]:
    """PSNR of each image's RGB over white in dB, values in [0, 1]; at most 100."""
    error = (output[:, :3] - image[:, :3]).square().flatten(1).mean(1)
    return -10 * torch.log10(error.clamp(min=1e-10))
