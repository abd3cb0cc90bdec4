"""Views: the inputs of the encoders. Pure functions of the image, each with its own denoising and edge steps.

A view holds one kind of evidence: colours and their layout (pixel), the course of edges (orientation), grain and brush
marks (texture). All views have half the image's resolution; finer detail lies in their channels.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from impasto.config import LUMA
from impasto.model.blocks import Map, upsample_nearest

VIEW_NAMES = ("pixel", "orientation", "texture")
ORIENTATION_SCALES = 3
ORIENTATION_CHANNELS = 3 * ORIENTATION_SCALES
SIGN_CHANNELS = 2 * ORIENTATION_SCALES


class Views(NamedTuple):
    """The three views of a batch of images, each at half the images' height and width."""

    pixel: Map
    orientation: Map
    texture: Map


def view_channels(image_channels: int, *, signed: bool) -> tuple[int, int, int]:
    """Channels of the pixel, orientation and texture view of images with ``image_channels``; see `views_of`."""
    return image_channels, ORIENTATION_CHANNELS + signed * SIGN_CHANNELS, 4 * image_channels


def views_of(image: Map, *, signed: bool) -> Views:
    """The views of images (RGB over white, and alpha where there is a fourth channel) with values in [0, 1].

    With ``signed``, the orientation view includes on which side of an edge it is lighter.
    """
    denoised = guided_filter(image)
    edges = orientation(denoised)
    return Views(
        pixel=2 * F.avg_pool2d(denoised, 2) - 1,
        orientation=torch.cat([edges, edge_signs(denoised)], 1) if signed else edges,
        texture=(4 * F.pixel_unshuffle(image - denoised, 2)).contiguous(memory_format=torch.channels_last),
    )


def guided_filter(image: Map, radius: int = 2, epsilon: float | Float[Tensor, "batch 1 1 1"] = 0.01) -> Map:
    """The image, smoothed where it varies by less than sqrt(``epsilon``) (He, Sun & Tang 2013, self-guided)."""
    mean = _box(image, radius)
    variance = (_box(image.square(), radius) - mean.square()).clamp(min=0)
    a = variance / (variance + epsilon)
    return torch.lerp(mean, image, _box(a, radius))


def orientation(image: Map) -> Map:
    """The course of edges, at three scales: double-angle structure tensors (Bigun & Granlund 1987),
    contrast-normalised.

    Three channels a scale: edge strength s in [0, 1) and s cos 2a, s sin 2a of the edge's angle a. Gradients of
    luminance and of alpha add up as tensors, so that a white shape on a transparent ground has its outline too.
    """
    return _at_scales(torch.cat([luma(image), image[:, 3:]], 1), _structure_tensor)


def edge_signs(image: Map) -> Map:
    """In which direction it gets lighter, at three scales, contrast-normalised.

    Two channels a scale: s cos a and s sin a, of the gradient's angle a in all of the circle. Double angles are the
    same for a light line on dark ground and a dark one on light ground, so a decoder given only them averages both.
    """
    return _at_scales(luma(image), _normalised_gradient)


def luma(image: Map) -> Map:
    """The lightness of colours, in one channel (ITU-R BT.601)."""
    return (image[:, :3] * image.new_tensor(LUMA)[:, None, None]).sum(1, keepdim=True)


def _at_scales(planes: Map, measure: Callable[[Map], Map]) -> Map:
    """``measure`` of planes, at half their size, and at a quarter; all results at half the size of the first."""
    scales = []
    for scale in range(ORIENTATION_SCALES):
        measured = measure(planes)
        if scale == 0:
            measured = F.avg_pool2d(measured, 2)
        planes = F.avg_pool2d(planes, 2)
        for _ in range(scale - 1):
            measured = upsample_nearest(measured)
        scales.append(measured)
    return torch.cat(scales, 1).contiguous(memory_format=torch.channels_last)


def _structure_tensor(planes: Map) -> Float[Tensor, "batch 3 height width"]:
    dx, dy = _gradient(planes)
    tensor = torch.cat([dx.square() + dy.square(), dx.square() - dy.square(), 2 * dx * dy], 1)
    tensor = tensor.unflatten(1, (3, planes.shape[1])).sum(2)
    strength = torch.sqrt(tensor[:, :1] + 1e-8)
    return tensor / (strength * (strength + _box(strength, 4) + 0.05))


def _normalised_gradient(lightness: Map) -> Float[Tensor, "batch 2 height width"]:
    gradient = torch.cat(_gradient(lightness), 1)
    strength = torch.sqrt(gradient.square().sum(1, keepdim=True) + 1e-8)
    return gradient / (strength + _box(strength, 4) + 0.05)


def _gradient(planes: Map) -> tuple[Map, Map]:
    """Along x and along y, with the weights of Scharr (2000)."""
    padded = F.pad(planes, (1, 1, 1, 1), mode="replicate")
    smooth_y = 3 * padded[:, :, :-2] + 10 * padded[:, :, 1:-1] + 3 * padded[:, :, 2:]
    smooth_x = 3 * padded[:, :, :, :-2] + 10 * padded[:, :, :, 1:-1] + 3 * padded[:, :, :, 2:]
    return (smooth_y[:, :, :, 2:] - smooth_y[:, :, :, :-2]) / 16, (smooth_x[:, :, 2:] - smooth_x[:, :, :-2]) / 16


def _box(x: Map, radius: int) -> Map:
    """Averages over squares; at the border over the part that lies inside."""
    ones = x.new_ones(1, 1, *x.shape[2:])
    return _box_sum(x, radius) / _box_sum(ones, radius)


def _box_sum(x: Map, radius: int) -> Map:
    padded, size = F.pad(x, (radius, radius, radius, radius)), 2 * radius + 1
    return _window_sums(_window_sums(padded, 2, size), 3, size)


def _window_sums(x: Map, dim: int, size: int) -> Map:
    """Sums of ``size`` neighbours: of two windows of half the size, so that nine take four additions."""
    if size == 1:
        return x
    length = x.shape[dim] - size + 1
    if size % 2:
        return _window_sums(x, dim, size - 1).narrow(dim, 0, length) + x.narrow(dim, size - 1, length)
    half = _window_sums(x, dim, size // 2)
    return half.narrow(dim, 0, length) + half.narrow(dim, size // 2, length)
