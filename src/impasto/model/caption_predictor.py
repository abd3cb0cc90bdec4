"""An auxiliary predictor: from an image's latents to the text vector of its caption."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from impasto.config import ModelConfig
from impasto.model.blocks import linear
from impasto.model.decoder import Latents

HIDDEN = 512
SIDE = 2
"""Maps are averaged over a grid of this side: positions hardly matter to a caption."""
DROPOUT = 0.2


class CaptionPredictor(nn.Module):
    """One hidden layer on the style and on averages of the maps; the output lies in the space of text vectors."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.hidden = linear(config.style_dim + SIDE**2 * sum(config.map_channels), HIDDEN, gain=2.0)
        self.read = linear(HIDDEN, config.text_dim)

    def forward(self, latents: Latents) -> Float[Tensor, "batch text"]:
        """Text vectors of unit length."""
        averages = [F.adaptive_avg_pool2d(z, SIDE).flatten(1) for z in latents.maps]
        hidden = F.silu(self.hidden(torch.cat([latents.style, *averages], 1)))
        return F.normalize(self.read(F.dropout(hidden, DROPOUT, self.training)).float(), dim=1)
