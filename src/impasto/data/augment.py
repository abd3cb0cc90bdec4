"""Random variants of training images: mirrored, shifted, in other colours."""

import math
from collections.abc import Collection

import numpy as np

from impasto.config import Augment

MAX_SHIFT = 0.05
"""In sides of the image."""


def augmented(pixels: np.ndarray, random: np.random.Generator, kinds: Collection[Augment]) -> np.ndarray:
    """Images, each mirrored, shifted by whole pixels or turned in hue at random: uint8 (n, channels, side, side).

    Shifts move transparent images within their transparent margins, so that nothing is cut, and wrap opaque ones around
    their edges. ``random`` draws four numbers for every image, whatever the kinds are.
    """
    draws = random.random((len(pixels), 4))
    return np.stack([_augmented(image, draw, kinds) for image, draw in zip(pixels, draws, strict=True)])


def _augmented(image: np.ndarray, draw: np.ndarray, kinds: Collection[Augment]) -> np.ndarray:
    flip, down, right, hue = draw.tolist()
    if Augment.FLIP in kinds and flip < 0.5:
        image = image[:, :, ::-1]
    if Augment.SHIFT in kinds:
        shift = [_shift(image, axis, value) for axis, value in ((1, down), (2, right))]
        image = np.roll(image, shift, axis=(1, 2))
    if Augment.HUE in kinds:
        image = np.concatenate([_turned(image[:3], 2 * math.pi * hue), image[3:]])
    return image


def _shift(image: np.ndarray, axis: int, draw: float) -> int:
    """Pixels along an axis of the image: at most `MAX_SHIFT` of the side, and none into an opaque edge."""
    side = image.shape[axis]
    before = after = round(MAX_SHIFT * side)
    if len(image) == 4 and (image[3] < 255).any():
        occupied = np.flatnonzero(image[3].any(2 - axis))
        if len(occupied):
            before, after = min(before, int(occupied[0])), min(after, side - 1 - int(occupied[-1]))
    return min(int(draw * (before + after + 1)), before + after) - before


def _turned(rgb: np.ndarray, angle: float) -> np.ndarray:
    """Colours turned around the grey axis: uint8 (3, height, width). Greys, and so white grounds, stay as they are."""
    cosine, sine = math.cos(angle), math.sin(angle) / math.sqrt(3)
    grey = (1 - cosine) / 3
    rows = [cosine + grey, grey - sine, grey + sine]
    matrix = np.array([rows, rows[-1:] + rows[:-1], rows[-2:] + rows[:-2]], np.float32)
    return np.tensordot(matrix, rgb.astype(np.float32), 1).round().clip(0, 255).astype(np.uint8)
