"""Canvases: images of any size, padded to a height and width in multiples of 32, and cropped again."""

from dataclasses import dataclass

import numpy as np
import torch

from impasto.config import Repeat
from impasto.errors import ImpastoError
from impasto.model.blocks import Map
from impasto.model.levels import MAP_STRIDES

STRIDE = MAP_STRIDES[0]


@dataclass(frozen=True)
class Canvas:
    """The position of an image on its canvas. All lengths are in pixels."""

    top: int
    left: int
    height: int
    """Height of the image."""
    width: int
    """Width of the image."""
    canvas_height: int
    canvas_width: int
    roll_down: int = 0
    """Cyclic shift downwards, for a canvas that repeats along y."""
    roll_right: int = 0
    """Cyclic shift to the right, for a canvas that repeats along x."""

    @classmethod
    def around(cls, height: int, width: int, min_side: int, repeat: Repeat = Repeat.NONE) -> "Canvas":
        """The smallest canvas that holds an image in its middle. Its sides are at least ``min_side``.

        Raises ImpastoError if the image repeats along a side that needs a margin.
        """
        sides = [max(min_side, -(-length // STRIDE) * STRIDE) for length in (height, width)]
        for name, length, side, repeats in (
            ("height", height, sides[0], repeat.along_y),
            ("width", width, sides[1], repeat.along_x),
        ):
            if repeats and length != side:
                raise ImpastoError(
                    f"--tile {repeat}: a {name} of {length} px cannot repeat; scale the image to a multiple of "
                    f"{STRIDE} px, at least {min_side} px."
                )
        return cls((sides[0] - height) // 2, (sides[1] - width) // 2, height, width, sides[0], sides[1])

    def moved(self, down: int, right: int, repeat: Repeat = Repeat.NONE) -> "Canvas":
        """The same image, shifted by ``down`` and ``right`` pixels.

        Along an axis that repeats the shift is cyclic. Along another one the canvas grows if necessary.
        """
        top, height, roll_down = _moved(self.top, self.height, self.canvas_height, down, repeat.along_y)
        left, width, roll_right = _moved(self.left, self.width, self.canvas_width, right, repeat.along_x)
        return Canvas(top, left, self.height, self.width, height, width, roll_down, roll_right)

    def put(self, pixels: np.ndarray) -> Map:
        """Pad an image, uint8 (channels, height, width), to the canvas: a batch of one in [0, 1].

        The margin of an image with transparent pixels is transparent. Otherwise it repeats the pixels at the edge.
        """
        below = self.canvas_height - self.height - self.top
        right = self.canvas_width - self.width - self.left
        margins = ((0, 0), (self.top, below), (self.left, right))
        if len(pixels) == 4 and (pixels[3] < 255).any():
            ground = np.pad(pixels[:3], margins, constant_values=255)
            pixels = np.concatenate([ground, np.pad(pixels[3:], margins, constant_values=0)])
        else:
            pixels = np.pad(pixels, margins, mode="edge")
        image = torch.from_numpy(pixels[None]).float() / 255
        image = torch.roll(image, (self.roll_down, self.roll_right), (2, 3))
        return image.contiguous(memory_format=torch.channels_last)

    def take(self, decoded: Map) -> np.ndarray:
        """Crop the image from a canvas in [0, 1], a batch of one: float32 (channels, height, width)."""
        decoded = torch.roll(decoded, (-self.roll_down, -self.roll_right), (2, 3))
        rows = slice(self.top, self.top + self.height)
        columns = slice(self.left, self.left + self.width)
        return decoded[0, :, rows, columns].float().cpu().numpy()


def _moved(start: int, length: int, side: int, shift: int, repeats: bool) -> tuple[int, int, int]:
    """Along one axis: the start of the shifted image, the length of the canvas, and the cyclic shift."""
    if repeats:
        return start, side, shift
    end = start + shift + length
    return start + shift, max(side, -(-end // STRIDE) * STRIDE), 0
