"""Views: what each encoder is shown. Pure functions of the picture, each with its own denoising and edge steps.

A view holds one kind of evidence, so that an encoder can be trusted with one kind of question: colours and their layout
(pixel), where edges run (orientation), grain and brush marks (texture). All views are at half the picture's resolution;
what the picture has in finer detail than that lies in their channels.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from impasto.model.blocks import Map, upsample_nearest

VIEW_NAMES = ("pixel", "orientation", "texture")
ORIENTATION_SCALES = 3
ORIENTATION_CHANNELS = 3 * ORIENTATION_SCALES
LUMA = (0.299, 0.587, 0.114)


class Views(NamedTuple):
    """The three views of a batch of pictures, each at half the pictures' height and width."""

    pixel: Map
    orientation: Map
    texture: Map


def view_channels(picture_channels: int) -> tuple[int, int, int]:
    """Channels of the pixel, orientation and texture view of pictures with so many channels."""
    return picture_channels, ORIENTATION_CHANNELS, 4 * picture_channels


def views_of(picture: Map) -> Views:
    """The views of pictures (RGB over white, and alpha where there is a fourth channel) with values in [0, 1]."""
    denoised = guided_filter(picture)
    return Views(
        pixel=2 * F.avg_pool2d(denoised, 2) - 1,
        orientation=orientation(denoised),
        texture=(4 * F.pixel_unshuffle(picture - denoised, 2)).contiguous(memory_format=torch.channels_last),
    )


def guided_filter(picture: Map, radius: int = 2, epsilon: float = 0.01) -> Map:
    """The picture, smoothed where it varies by less than sqrt(``epsilon``) (He, Sun & Tang 2013, self-guided)."""
    mean = _box(picture, radius)
    variance = (_box(picture.square(), radius) - mean.square()).clamp(min=0)
    a = variance / (variance + epsilon)
    return _box(1 - a, radius) * mean + _box(a, radius) * picture


def orientation(picture: Map) -> Map:
    """Where edges run, at three scales: double-angle structure tensors (Bigun & Granlund 1987), contrast-normalised.

    Three channels a scale: edge strength s in [0, 1) and s cos 2a, s sin 2a of the edge's angle a. Gradients of
    luminance and of alpha add up as tensors, so that a white shape on a transparent ground has its outline too.
    """
    luma = (picture[:, :3] * picture.new_tensor(LUMA)[:, None, None]).sum(1, keepdim=True)
    planes = torch.cat([luma, picture[:, 3:]], 1)
    scales = []
    for scale in range(ORIENTATION_SCALES):
        tensor = _structure_tensor(planes)
        if scale == 0:
            tensor = F.avg_pool2d(tensor, 2)
        planes = F.avg_pool2d(planes, 2)
        for _ in range(scale - 1):
            tensor = upsample_nearest(tensor)
        scales.append(tensor)
    return torch.cat(scales, 1).contiguous(memory_format=torch.channels_last)


def _structure_tensor(planes: Map) -> Float[Tensor, "batch 3 height width"]:
    padded = F.pad(planes, (1, 1, 1, 1), mode="replicate")
    smooth_y = 3 * padded[:, :, :-2] + 10 * padded[:, :, 1:-1] + 3 * padded[:, :, 2:]
    smooth_x = 3 * padded[:, :, :, :-2] + 10 * padded[:, :, :, 1:-1] + 3 * padded[:, :, :, 2:]
    dx = (smooth_y[:, :, :, 2:] - smooth_y[:, :, :, :-2]) / 16  # Scharr 2000
    dy = (smooth_x[:, :, 2:] - smooth_x[:, :, :-2]) / 16
    tensor = torch.cat([dx.square() + dy.square(), dx.square() - dy.square(), 2 * dx * dy], 1)
    tensor = tensor.unflatten(1, (3, planes.shape[1])).sum(2)
    strength = torch.sqrt(tensor[:, :1] + 1e-8)
    contrast = _box(strength, 4)
    return tensor / (strength * (strength + contrast + 0.05))


def _box(x: Map, radius: int) -> Map:
    """Averages over squares; at the border over the part that lies inside."""
    ones = x.new_ones(1, 1, *x.shape[2:])
    return _box_sum(x, radius) / _box_sum(ones, radius)


def _box_sum(x: Map, radius: int) -> Map:
    # Shifted sums: six times as fast as average pooling with so large a window.
    height, width = x.shape[2:]
    padded = F.pad(x, (0, 0, radius, radius))
    rows = sum((padded[:, :, shift : shift + height] for shift in range(2 * radius + 1)), torch.zeros(()))
    padded = F.pad(rows, (radius, radius))
    return sum((padded[:, :, :, shift : shift + width] for shift in range(2 * radius + 1)), torch.zeros(()))
