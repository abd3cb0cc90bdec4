"""The layers of encoders and decoder.

None of them normalises by statistics of a image: scale is kept by layer normalisation over the channels of each
position, by residual branches that start near zero (Child 2021, "Very Deep VAEs") and by weight demodulation (Karras
2020). That is cheaper than GroupNorm, which took a fifth of the training step, and a image computed in tiles equals
the image computed whole.
"""

import math
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)

Map = Float[Tensor, "_batch _channel _height _width"]
"""Feature maps, or images: RGB over white, and alpha if there is a fourth channel."""
Vector = Float[Tensor, "_batch _feature"]


def to_images(pixels: np.ndarray, device: torch.device) -> Map:
    """uint8 (batch, channels, height, width) as float in [0, 1] on ``device``, channels last."""
    images = torch.from_numpy(pixels).to(device, non_blocking=True)
    return (images.float() / 255).contiguous(memory_format=torch.channels_last)


def channels_last(module: M) -> M:
    """The module, its convolutions' weights laid out channels last, which is faster on CPUs and GPUs."""
    return module.to(memory_format=torch.channels_last)  # pyrefly: ignore - missing in torch's own overloads


def conv(inputs: int, outputs: int, kernel: int, *, gain: float = math.sqrt(2.0)) -> nn.Conv2d:
    """A convolution that keeps height and width; weights He-initialised times ``gain`` / sqrt(2), biases zero."""
    layer = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
    nn.init.normal_(layer.weight, std=gain / math.sqrt(inputs * kernel * kernel))
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def linear(inputs: int, outputs: int, *, gain: float = 1.0) -> nn.Linear:
    """A fully connected layer with weights of variance ``gain``^2 / inputs and zero biases."""
    layer = nn.Linear(inputs, outputs)
    nn.init.normal_(layer.weight, std=gain / math.sqrt(inputs))
    nn.init.zeros_(layer.bias)
    return layer


def upsample_nearest(x: Map) -> Map:
    """Double height and width by repetition (plain views: `interpolate` is 30 times slower on some CPUs)."""
    batch, channels, height, width = x.shape
    x = x[:, :, :, None, :, None].expand(batch, channels, height, 2, width, 2)
    return x.reshape(batch, channels, 2 * height, 2 * width).contiguous(memory_format=torch.channels_last)


def normalize(x: Map) -> Map:
    """Every position's channels with mean 0 and variance 1: layer normalisation without statistics of the image."""
    return layer_norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def layer_norm(x: Tensor) -> Tensor:
    """Layer normalisation over the last dimension, in the dtype of ``x``: autocast on GPUs would widen it."""
    with torch.autocast(x.device.type, enabled=False):
        return F.layer_norm(x, x.shape[-1:])


class ResidualBlock(nn.Module):
    """x + conv(silu(conv(silu(normalize(x))))), two 3x3 convolutions, the last of which starts near zero."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = conv(channels, channels, 3)
        self.second = conv(channels, channels, 3, gain=0.1)

    def forward(self, x: Map) -> Map:
        """Same shape in and out."""
        return x + self.second(F.silu(self.first(F.silu(normalize(x)))))


class StyledBlock(nn.Module):
    """A residual block whose first convolution is modulated by the style and demodulated.

    The convolution's weights are scaled per input channel by 1 + A(style) and divided by their norm per output
    channel (Karras 2020, eq. 1 and 3). Both scales are applied to the activations, which is the same thing and costs
    no weights per image.
    """

    def __init__(self, channels: int, style_features: int) -> None:
        super().__init__()
        self.affine = linear(style_features, channels, gain=0.3)
        self.weight = nn.Parameter(torch.randn(channels, channels, 3, 3) / math.sqrt(9 * channels))
        self.gain = nn.Parameter(torch.full((channels,), math.sqrt(2.0)))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.second = conv(channels, channels, 3, gain=0.1)

    def forward(self, x: Map, style: Vector) -> Map:
        """Same shape in and out; ``style`` is the decoder's style feature vector."""
        scale = 1 + self.affine(style)
        power = self.weight.square().sum((2, 3))
        demodulation = self.gain * torch.rsqrt(scale.square() @ power.T + 1e-6)
        h = F.conv2d(F.silu(normalize(x)) * scale[:, :, None, None], self.weight, padding=1)
        # Cast first: under autocast a mixed addcmul would widen the whole map.
        h = torch.addcmul(self.bias.to(h.dtype)[:, None, None], h, demodulation.to(h.dtype)[:, :, None, None])
        return x + self.second(F.silu(h))


class Upsample(nn.Module):
    """Sub-pixel convolution (Shi 2016): a 1x1 convolution to four times the channels, laid out as 2x2 squares."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, *, gain: float = 1.0) -> None:
        super().__init__()
        self.project = conv(inputs, 4 * outputs, kernel, gain=gain)

    def forward(self, x: Map) -> Map:
        """(batch, inputs, height, width) to (batch, outputs, 2 height, 2 width)."""
        x = F.pixel_shuffle(self.project(x), 2)
        return x.contiguous(memory_format=torch.channels_last)
