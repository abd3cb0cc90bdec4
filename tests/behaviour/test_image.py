"""Arrays become images: colour, alpha, and no fringe at the edges."""

import numpy as np
import pytest
from PIL import Image

from images import composite
from impasto.create.image import over_white, to_image


def test_three_channels_are_rgb() -> None:
    array = np.random.default_rng(0).integers(0, 256, (3, 5, 7), dtype=np.uint8)
    image = to_image(array)
    assert image.mode == "RGB"
    assert np.array_equal(np.asarray(image).transpose(2, 0, 1), array)


def soft_disc() -> Image.Image:
    """A red disc with an antialiased edge on a transparent background."""
    y, x = np.mgrid[:32, :32] - 15.5
    alpha = np.clip(10 - np.hypot(x, y), 0, 1)
    image = np.zeros((32, 32, 4), np.uint8)
    image[..., 0] = np.where(alpha > 0, 200, 0)
    image[..., 3] = np.rint(alpha * 255)
    return Image.fromarray(image)


def test_edges_have_no_fringe() -> None:
    values = np.asarray(to_image(composite(soft_disc()).astype(np.float16))).astype(int)
    edge = (values[..., 3] > 8) & (values[..., 3] < 255)
    assert edge.sum() > 20
    assert np.abs(values[edge][:, :3] - [200, 0, 0]).max() <= 12


def test_scaling_blends_no_other_colour_into_the_edge() -> None:
    image = to_image(composite(soft_disc()))
    # Bilinear without premultiplied alpha, as in many games.
    colour = np.asarray(image.convert("RGB").resize((64, 64), Image.Resampling.BILINEAR)).astype(int)
    alpha = np.asarray(image.getchannel("A").resize((64, 64), Image.Resampling.BILINEAR))
    assert np.abs(colour[alpha > 0] - [200, 0, 0]).max() <= 4
    # Distant transparent pixels are white, not black.
    assert image.getpixel((0, 0)) == (255, 255, 255, 0)


def test_inconsistent_values_are_clipped() -> None:
    # Darker than any colour with this alpha over white.
    image = to_image(np.stack([np.zeros((2, 2)), np.ones((2, 2)), np.full((2, 2), 2.0), np.full((2, 2), 0.5)]))
    assert image.getpixel((0, 0)) == (0, 255, 255, 128)
    assert to_image(np.zeros((4, 3, 3))).getpixel((1, 1)) == (255, 255, 255, 0)


@pytest.mark.parametrize("shape", [(2, 4, 4), (4, 4), (3, 0, 4)])
def test_wrong_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="height, width"):
        to_image(np.zeros(shape))


def test_not_finite() -> None:
    with pytest.raises(ValueError, match="not finite"):
        to_image(np.full((3, 2, 2), np.nan))


def test_over_white() -> None:
    assert over_white(Image.new("RGBA", (1, 1), (0, 0, 0, 0))).getpixel((0, 0)) == (255, 255, 255)
    palette = Image.new("P", (1, 1))
    palette.info["transparency"] = 0
    assert over_white(palette).getpixel((0, 0)) == (255, 255, 255)
    assert over_white(Image.new("L", (1, 1), 7)).getpixel((0, 0)) == (7, 7, 7)
