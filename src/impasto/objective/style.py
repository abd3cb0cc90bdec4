"""What the style vector must tell: how its pictures look, and whose they are."""

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from impasto.model.blocks import linear

Statistics = Float[Tensor, "_picture statistic"]


class StyleReader(nn.Module):
    """Reads the early-stage statistics and the collection of a picture from the style that it is painted in.

    Left alone, the style level holds whatever helps to paint, which is mostly content, and a pool of references tells
    the flow little about their maker. Linear readers that train along pull out what a style is: channel means and
    deviations of early features (Huang & Belongie 2017), and what the collection's pictures have in common.
    """

    def __init__(
        self,
        style_dim: int,
        num_collections: int,
        mean: Float[Tensor, " statistic"],
        deviation: Float[Tensor, " statistic"],
    ) -> None:
        """``mean`` and ``deviation`` of the statistics over the folder bring them to one scale."""
        super().__init__()
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)
        self.look = linear(style_dim, len(mean))
        self.maker = linear(style_dim, num_collections)

    def look_error(self, style: Float[Tensor, "_picture style"], statistics: Statistics) -> Float[Tensor, ""]:
        """Mean squared error of the standardised statistics; 1 when nothing is told."""
        wanted = ((statistics - self.mean) / self.deviation).clamp(-5, 5)
        return (self.look(style).float() - wanted).square().mean()

    def maker_error(
        self, style: Float[Tensor, "_picture style"], collections: Int[Tensor, " _picture"]
    ) -> Float[Tensor, ""]:
        """Cross-entropy of the collection in nats; 0 where there is only one."""
        return F.cross_entropy(self.maker(style).float(), collections)
