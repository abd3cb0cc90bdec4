import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from impasto.create.picture import over_white, to_image


def composite(image: Image.Image) -> np.ndarray:
    """What a decoder would have given: (4, h, w) in [0, 1], RGB over white and alpha."""
    values = np.asarray(image, np.float32) / 255
    alpha = values[..., 3:]
    return np.concatenate([values[..., :3] * alpha + 1 - alpha, alpha], axis=2).transpose(2, 0, 1)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["uint8", "float"]), st.sampled_from([1.0, 0.1, 0.02]))
def test_composite_comes_back(seed: int, kind: str, opacity: float) -> None:
    values = np.random.default_rng(seed).random((9, 13, 4)).astype(np.float32)
    values[..., 3] *= opacity
    given_values = composite(Image.fromarray(np.rint(values * 255).astype(np.uint8)))
    if kind == "uint8":
        given_values = np.rint(given_values * 255).astype(np.uint8)
    image = to_image(given_values)
    wanted = given_values / 255 if kind == "uint8" else given_values
    assert image.mode == "RGBA" and image.size == (13, 9)
    assert np.abs(composite(image) - wanted).max() <= 1.01 / 255


def test_three_channels_are_rgb() -> None:
    array = np.random.default_rng(0).integers(0, 256, (3, 5, 7), dtype=np.uint8)
    image = to_image(array)
    assert image.mode == "RGB"
    assert np.array_equal(np.asarray(image).transpose(2, 0, 1), array)


def soft_disc() -> Image.Image:
    """A red disc with an antialiased edge on nothing at all."""
    y, x = np.mgrid[:32, :32] - 15.5
    alpha = np.clip(10 - np.hypot(x, y), 0, 1)
    picture = np.zeros((32, 32, 4), np.uint8)
    picture[..., 0] = np.where(alpha > 0, 200, 0)
    picture[..., 3] = np.rint(alpha * 255)
    return Image.fromarray(picture)


def test_edges_have_no_fringe() -> None:
    values = np.asarray(to_image(composite(soft_disc()).astype(np.float16))).astype(int)
    edge = (values[..., 3] > 8) & (values[..., 3] < 255)
    assert edge.sum() > 20
    assert np.abs(values[edge][:, :3] - [200, 0, 0]).max() <= 12


def test_scaling_mixes_no_foreign_colour_into_the_edge() -> None:
    image = to_image(composite(soft_disc()))
    # Bilinear without premultiplied alpha, as games and careless programs do it.
    colour = np.asarray(image.convert("RGB").resize((64, 64), Image.Resampling.BILINEAR)).astype(int)
    alpha = np.asarray(image.getchannel("A").resize((64, 64), Image.Resampling.BILINEAR))
    assert np.abs(colour[alpha > 0] - [200, 0, 0]).max() <= 4
    # Far from everything visible there is white, not black.
    assert image.getpixel((0, 0)) == (255, 255, 255, 0)


def test_inconsistent_values_are_clipped() -> None:
    # Darker than any colour at this alpha could be.
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
