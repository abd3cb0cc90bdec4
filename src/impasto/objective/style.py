"""An auxiliary predictor: feature statistics and the collection must be predictable from the style vector."""

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from impasto.model.blocks import linear

Statistics = Float[Tensor, "_image statistic"]


class StylePredictor(nn.Module):
    """Predicts the early feature statistics and the collection of an image from the style that it is decoded with.

    Without it, the style level holds whatever helps reconstruction, which is mostly content, and a pool of references
    tells the flow little about their collection. Linear predictors that train along extract what defines a style:
    channel means and deviations of early features (Huang & Belongie 2017), and what a collection has in common.
    """

    def __init__(
        self,
        style_dim: int,
        num_collections: int,
        mean: Float[Tensor, " statistic"],
        deviation: Float[Tensor, " statistic"],
    ) -> None:
        """``mean`` and ``deviation`` of the statistics over the folder standardise them."""
        super().__init__()
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)
        self.statistics = linear(style_dim, len(mean))
        self.collection = linear(style_dim, num_collections)

    def statistics_error(self, style: Float[Tensor, "_image style"], statistics: Statistics) -> Float[Tensor, ""]:
        """Mean squared error of the standardised statistics; 1 for a predictor that outputs their means."""
        target = ((statistics - self.mean) / self.deviation).clamp(-5, 5)
        return (self.statistics(style).float() - target).square().mean()

    def collection_error(
        self, style: Float[Tensor, "_image style"], collections: Int[Tensor, " _image"]
    ) -> Float[Tensor, ""]:
        """Cross-entropy of the collection in nats; 0 if there is only one."""
        return F.cross_entropy(self.collection(style).float(), collections)
