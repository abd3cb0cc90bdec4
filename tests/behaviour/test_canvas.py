"""Images of any size on a canvas of multiples of 32, and back."""

import numpy as np
import pytest

from impasto.config import Repeat
from impasto.create.canvas import Canvas
from impasto.errors import ImpastoError


@pytest.mark.parametrize(("height", "width"), [(32, 32), (50, 70), (1, 33), (96, 20)])
@pytest.mark.parametrize("channels", [3, 4])
def test_an_image_comes_back_from_its_canvas(height: int, width: int, channels: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (channels, height, width)).astype(np.uint8)
    canvas = Canvas.around(height, width, 64)
    placed = canvas.put(pixels)
    assert placed.shape[2] % 32 == 0 and placed.shape[3] % 32 == 0 and min(placed.shape[2:]) >= 64
    np.testing.assert_array_equal(np.rint(canvas.take(placed) * 255).astype(np.uint8), pixels)


def test_margins_are_clear_with_alpha_and_continue_the_edge_without() -> None:
    opaque = np.full((3, 20, 20), 90, np.uint8)
    assert np.unique(Canvas.around(20, 20, 32).put(opaque).numpy()).tolist() == pytest.approx([90 / 255])
    clear = np.concatenate([opaque, np.zeros((1, 20, 20), np.uint8)])
    margin = Canvas.around(20, 20, 32).put(clear)[0, :, 0, 0]
    assert margin.tolist() == [1, 1, 1, 0]


def test_shifted_canvases_hold_the_same_image_elsewhere() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (3, 40, 64)).astype(np.uint8)
    canvas = Canvas.around(40, 64, 32)
    shifted = canvas.moved(10, 27)
    np.testing.assert_allclose(shifted.take(shifted.put(pixels)), canvas.take(canvas.put(pixels)))
    assert (shifted.top, shifted.left) == (canvas.top + 10, canvas.left + 27)


def test_along_an_axis_that_tiles_a_shift_wraps_and_a_margin_is_refused() -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (3, 64, 64)).astype(np.uint8)
    canvas = Canvas.around(64, 64, 32, Repeat.XY).moved(5, 9, Repeat.XY)
    placed = canvas.put(pixels)
    assert placed.shape == (1, 3, 64, 64)
    np.testing.assert_array_equal(placed[0, :, 5, 9].numpy(), pixels[:, 0, 0] / np.float32(255))
    np.testing.assert_allclose(canvas.take(placed), pixels / 255, atol=1e-6)
    with pytest.raises(ImpastoError, match="tile x: a width of 50 px"):
        Canvas.around(64, 50, 32, Repeat.X)
