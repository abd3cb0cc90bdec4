"""How faithfully pictures come back."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from impasto.backbone import Backbone, feature_distance
from impasto.model.blocks import Map


@dataclass(frozen=True)
class Faithfulness:
    """Per picture, on RGB over white."""

    psnr: Float[Tensor, " picture"]
    """Peak signal-to-noise ratio in dB, at most 100."""
    ssim: Float[Tensor, " picture"]
    """Structural similarity (Wang 2004), 1 for the same picture."""
    feature: Float[Tensor, " picture"]
    """Distance of EfficientNet-Lite2's early features, 0 for the same picture; not LPIPS, though of its form."""


@torch.no_grad()
def faithfulness(versions: Iterable[Map], picture: Map, backbone: Backbone) -> list[Faithfulness]:
    """Compare versions of pictures in [0, 1] with what they should be."""
    from torchmetrics.functional.image.ssim import structural_similarity_index_measure

    picture = picture[:, :3].contiguous()
    maps, found = backbone(picture), []
    for version in versions:
        painted = version[:, :3].contiguous()
        similarity = structural_similarity_index_measure(painted, picture, data_range=1.0, reduction="none")
        assert isinstance(similarity, Tensor)
        psnr = peak_signal_to_noise(painted, picture)
        found.append(Faithfulness(psnr, similarity, feature_distance(backbone(painted), maps)))
    return found


def peak_signal_to_noise(output: Map, image: Map) -> Float[Tensor, " image"]:
    """PSNR in dB of each image's RGB over white, values in [0, 1]; at most 100."""
    error = (output[:, :3] - image[:, :3]).square().flatten(1).mean(1)
    return -10 * torch.log10(error.clamp(min=1e-10))
