"""AdaIN (Huang & Belongie 2017) re-trained on the frozen features that Impasto's losses use."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impasto.backbone import Backbone, Lite, channel_statistics
from systems.system import Images, Labels, System, annealed

CONTENT_MAP = 2
"""Index of the backbone's map that holds the content: stride 8, the nearest to VGG's relu4_1."""


class AdaIn(System):
    """Content features with the channel statistics of style features, and a decoder for the result."""

    name = "AdaIN"
    settings = (
        "as its paper: content loss on the normalised map, style loss on means and deviations of four maps, weight 10, "
        "Adam 1e-4, batch 8; EfficientNet-Lite1 (strides 2 to 16, content at stride 8) instead of VGG; content and "
        "style images of one batch paired at random; for stylization, statistics averaged over the references"
    )
    batch_size = 8

    def __init__(self) -> None:
        super().__init__()
        self.__dict__["features"] = Backbone(Lite.LITE1)  # frozen: not part of the state
        channels = self._features.channels[CONTENT_MAP]
        layers: list[nn.Module] = []
        for before, after in ((channels, 256), (256, 128), (128, 64)):
            layers += [
                nn.Conv2d(before, after, 3, padding=1, padding_mode="reflect"),
                nn.ReLU(),
                nn.Conv2d(after, after, 3, padding=1, padding_mode="reflect"),
                nn.ReLU(),
                nn.Upsample(scale_factor=2),
            ]
        self.decoder = nn.Sequential(*layers, nn.Conv2d(64, 3, 3, padding=1, padding_mode="reflect"))
        self.optimizers["adam"] = torch.optim.Adam(self.decoder.parameters(), lr=1e-4)

    @property
    def _features(self) -> Backbone:
        return self.__dict__["features"]

    def step(self, image: Images, labels: Labels, progress: float) -> float:
        """Each image with the style of another image of the batch."""
        annealed(self.optimizers["adam"], 1e-4, progress)
        features = self._features.to(image.device)
        style = image[torch.randperm(len(image), device=image.device)]
        with torch.no_grad():
            content_map = features(image)[CONTENT_MAP].float()
            style_maps = features(style)
            target = _renormalised(content_map, *_statistics(style_maps[CONTENT_MAP]))
        decoded = features(self.decoder(target).float())
        content_error = F.mse_loss(decoded[CONTENT_MAP].float(), target)
        style_error = F.mse_loss(channel_statistics(decoded), channel_statistics(style_maps))
        loss = content_error + 10 * style_error
        self.optimizers["adam"].zero_grad()
        loss.backward()
        self.optimizers["adam"].step()
        return loss.item()

    def sample(self, labels: Labels, generator: torch.Generator) -> Images:
        """Not supported."""
        raise NotImplementedError("AdaIN only stylizes")

    @torch.no_grad()
    def stylize(self, content: Images, references: Images) -> Images:
        """Images with the averaged statistics of the references."""
        features = self._features.to(content.device)
        mean, deviation = (part.mean(0, keepdim=True) for part in _statistics(features(references)[CONTENT_MAP]))
        return self.decoder(_renormalised(features(content)[CONTENT_MAP].float(), mean, deviation)).float().clamp(0, 1)


def _statistics(features: Tensor) -> tuple[Tensor, Tensor]:
    values = features.float()
    return values.mean((2, 3), keepdim=True), values.std((2, 3), keepdim=True) + 1e-5


def _renormalised(features: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    own_mean, own_deviation = _statistics(features)
    return (features - own_mean) / own_deviation * deviation + mean
