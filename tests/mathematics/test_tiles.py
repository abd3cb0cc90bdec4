"""Tiles and margins: the same numbers as from the whole image, and edges that meet."""

import pytest
import torch
from torch import nn

from impasto.config import ModelConfig, Repeat
from impasto.model.autoencoder import Autoencoder, modes
from impasto.model.blocks import Map, channels_last
from impasto.model.levels import Levels
from impasto.model.tiles import ENCODER_MARGIN, decode, decoder_margin, encode, tiles


@pytest.fixture(scope="module")
def model() -> Autoencoder:
    """A narrow autoencoder whose every convolution counts, however far away."""
    torch.manual_seed(0)
    config = ModelConfig(
        channels=3,
        style_dim=8,
        map_channels=(4, 4, 4),
        encoder_widths=(8, 8, 8, 8, 8),
        pyramid_width=8,
        decoder_widths=(8, 8, 8, 8, 8),
        decoder_depths=(1, 2, 2, 2, 1),
    )
    model = channels_last(Autoencoder(config)).eval().requires_grad_(False)
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size[0] > 1:
            nn.init.normal_(module.weight, std=(module.in_channels * module.kernel_size[0] ** 2) ** -0.5)
    return model


def image(height: int, width: int) -> Map:
    """Soft noise in [0, 1]."""
    small = torch.rand(1, 3, height // 8, width // 8, generator=torch.Generator().manual_seed(1))
    large = nn.functional.interpolate(small, (height, width), mode="bilinear")
    return large.contiguous(memory_format=torch.channels_last)


def test_experts_from_tiles_equal_those_from_the_whole(model: Autoencoder) -> None:
    x = image(256, 640)
    for whole, tiled in zip(model.experts(x), encode(model, x, size=3), strict=True):
        for a, b in zip(whole, tiled, strict=True):
            torch.testing.assert_close(b.mean, a.mean, atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(b.log_variance, a.log_variance, atol=1e-4, rtol=1e-4)


def test_an_image_from_tiles_equals_the_whole(model: Autoencoder) -> None:
    latents = modes(model.experts(image(256, 640))[0])
    torch.testing.assert_close(decode(model, latents, size=3), model.decode(latents), atol=1e-5, rtol=0)


@pytest.mark.parametrize("repeat", [Repeat.X, Repeat.Y, Repeat.XY])
def test_a_repeating_image_is_the_middle_of_its_copies(model: Autoencoder, repeat: Repeat) -> None:
    x = image(64, 96)
    copies = x.repeat(1, 1, 9 if repeat.along_y else 1, 9 if repeat.along_x else 1)
    height, width = x.shape[2:]
    top, left = (4 * height if repeat.along_y else 0), (4 * width if repeat.along_x else 0)
    once, many = encode(model, x, repeat)[0], model.experts(copies)[0]
    for level, stride in enumerate((32, 16, 8)):
        rows = slice(top // stride, (top + height) // stride)
        columns = slice(left // stride, (left + width) // stride)
        torch.testing.assert_close(
            once.maps[level].mean, many.maps[level].mean[:, :, rows, columns], atol=1e-4, rtol=1e-4
        )
    latents = modes(once)
    output = decode(model, latents, repeat)
    tiled = [z.repeat(1, 1, 9 if repeat.along_y else 1, 9 if repeat.along_x else 1) for z in latents.maps]
    whole = model.decode(Levels(latents.style, tuple(tiled)))[:, :, top : top + height, left : left + width]
    torch.testing.assert_close(output, whole, atol=1e-5, rtol=0)


def test_margins_are_as_narrow_as_they_can_be(model: Autoencoder) -> None:
    assert decoder_margin(model.config) == 6 and ENCODER_MARGIN == 7
    (only,) = tiles(64, 64, 7, Repeat.NONE, 32)
    assert (only.rows.first, only.rows.last) == (0, 2), "a small image is computed whole, without margin"
