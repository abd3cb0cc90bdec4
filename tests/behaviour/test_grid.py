"""Sheets: cells, labels and backgrounds."""

import numpy as np
import pytest
from PIL import Image

from impasto.create.grid import CHECKER_COLOURS, FONT_SIZE, GAP, MAX_LABEL_WIDTH, grid

RED = Image.new("RGB", (8, 8), "red")
CLEAR = Image.new("RGBA", (8, 8), (0, 0, 0, 0))


def test_cells_stand_on_a_regular_pitch() -> None:
    sheet = grid([[RED, CLEAR], [RED]])
    assert sheet.mode == "RGB" and sheet.size == (GAP + 2 * (8 + GAP), GAP + 2 * (8 + GAP))
    values = np.asarray(sheet)
    red = (values == [255, 0, 0]).all(axis=2)
    assert red[GAP : GAP + 8, GAP : GAP + 8].all()
    assert red[2 * GAP + 8 : -GAP, GAP : GAP + 8].all()
    assert red.sum() == 128
    assert (values[~red] == 255).all()


def test_labels_add_ink_and_room_only_where_they_are() -> None:
    plain = np.asarray(grid([[CLEAR] * 2] * 2, cell=64))
    labelled = np.asarray(grid([[CLEAR] * 2] * 2, ["one", ""], ["a", "b"], cell=64))
    top, left = (big - small for big, small in zip(labelled.shape, plain.shape, strict=False) if big != small)
    assert top == FONT_SIZE + 2 * GAP and 10 < left < 60
    assert (plain == 255).all()
    assert (labelled[: top + GAP, left + GAP : left + GAP + 64] < 128).any()
    assert (labelled[top + GAP : top + GAP + 64, : left + GAP] < 128).any()
    assert (labelled[top + 2 * GAP + 64 :] == 255).all()
    assert (labelled[top + GAP :, left + GAP :] == 255).all()


def test_long_labels_are_cut() -> None:
    sheet = grid([[RED]], ["word " * 100], ["wide " * 100], cell=64)
    assert sheet.width <= MAX_LABEL_WIDTH + 64 + 4 * GAP
    assert (np.asarray(sheet)[:, -GAP + 1 :] == 255).all()


def test_small_images_keep_hard_pixels() -> None:
    image = Image.fromarray(np.array([[[0, 0, 0], [255, 0, 0]], [[0, 255, 0], [0, 0, 255]]], np.uint8))
    values = np.asarray(grid([[image]], cell=7))[GAP : GAP + 7, GAP : GAP + 7]
    # Three times 2 is 6 of 7 pixels: whole pixels, no blend.
    assert np.array_equal(values[:6, :6], np.asarray(image).repeat(3, 0).repeat(3, 1))


def test_large_and_long_images_fit() -> None:
    sheet = grid([[Image.new("RGB", (300, 10), "red")]], cell=30)
    values = np.asarray(sheet)
    assert sheet.size == (30 + 2 * GAP, 30 + 2 * GAP)
    assert (values[GAP + 14, GAP:-GAP] == [255, 0, 0]).all()
    assert (values[GAP] == 255).all()


def test_checker_shows_transparency() -> None:
    values = np.asarray(grid([[CLEAR.resize((32, 32)), RED]], background="checker"))
    cell = values[GAP : GAP + 32, GAP : GAP + 32]
    colours = {tuple(colour) for colour in cell.reshape(-1, 3)}
    assert colours == {tuple(bytes.fromhex(colour[1:])) for colour in CHECKER_COLOURS}
    assert (cell[0, 0] != cell[0, 8]).any() and (cell[0, 0] == cell[8, 8]).all()


@pytest.mark.parametrize("arguments", [([],), ([[]],), ([[RED]], ["a", "b"]), ([[RED]], [], ["a", "b"])])
def test_wrong_arguments(arguments: tuple) -> None:
    with pytest.raises(ValueError, match="a grid needs"):
        grid(*arguments)
