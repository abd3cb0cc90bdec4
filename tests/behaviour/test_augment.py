"""Random variants of training images."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from images import write_noise
from impasto.config import Augment
from impasto.data import prepare
from impasto.data.augment import MAX_SHIFT, augmented


@pytest.fixture
def sprite() -> np.ndarray:
    """A red and green drawing on a transparent ground, near the left edge: (1, 4, 64, 64)."""
    pixels = np.full((1, 4, 64, 64), 255, np.uint8)
    pixels[:, 3] = 0
    pixels[0, :, 20:40, 1:30] = np.array([200, 30, 30, 255])[:, None, None]
    pixels[0, :, 25:30, 20:30] = np.array([30, 200, 30, 255])[:, None, None]
    return pixels


def variants(pixels: np.ndarray, *kinds: Augment) -> np.ndarray:
    return np.concatenate([augmented(pixels, np.random.default_rng(seed), kinds) for seed in range(40)])


def test_flips_mirror_half_of_the_images(sprite: np.ndarray) -> None:
    flipped = variants(sprite, Augment.FLIP)
    is_mirrored = (flipped == sprite[:, :, :, ::-1]).all((1, 2, 3))
    assert (is_mirrored | (flipped == sprite).all((1, 2, 3))).all() and 10 < is_mirrored.sum() < 30


def test_shifts_cut_nothing_and_keep_every_pixel(sprite: np.ndarray) -> None:
    shifted = variants(sprite, Augment.SHIFT)
    assert (np.sort(shifted.reshape(40, 4, -1)) == np.sort(sprite.reshape(1, 4, -1))).all()
    left = [int(np.flatnonzero(image[3].any(0))[0]) for image in shifted]
    top = [int(np.flatnonzero(image[3].any(1))[0]) for image in shifted]
    reach = round(MAX_SHIFT * 64)
    assert min(left) == 0 and max(left) == 1 + reach  # there is one pixel of margin
    assert min(top) == 20 - reach and max(top) == 20 + reach
    assert not (variants(np.zeros_like(sprite[:, :3]), Augment.SHIFT)).any()


def test_hues_keep_greys_and_alpha(sprite: np.ndarray) -> None:
    turned = variants(sprite, Augment.HUE)
    ground = sprite[0, 3] == 0
    assert (turned[:, :3, ground] == 255).all() and (turned[:, 3] == sprite[:, 3]).all()
    assert len({tuple(image[:3, 22, 5]) for image in turned}) > 30
    third = augmented(sprite, FixedDraws(1 / 3), (Augment.HUE,))  # type: ignore[arg-type]
    assert third[0, :3, 22, 5].tolist() in ([30, 200, 30], [30, 30, 200])


class FixedDraws:
    """A generator that always draws the same number."""

    def __init__(self, value: float) -> None:
        self.value = value

    def random(self, shape: tuple[int, int]) -> np.ndarray:
        return np.full(shape, self.value)


def test_batches_are_varied_only_with_a_generator(tmp_path: Path) -> None:
    write_noise(tmp_path / "in", *(f"{number}.png" for number in range(4)), mode="RGBA")
    images = prepare(tmp_path / "in", resolution=32, cache=tmp_path / "cache")
    varied = dataclasses.replace(images, augment=tuple(Augment))
    assert np.array_equal(varied.batch(range(4)), images.batch(range(4)))
    draws = [varied.batch(range(4), np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert np.array_equal(draws[0], draws[1]) and not np.array_equal(draws[0], draws[2])
