"""Images of any size on a canvas that the networks take: height and width multiples of 32, and back."""

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
    """Where an image lies on its canvas, in pixels."""

    top: int
    left: int
    height: int
    """Of the image."""
    width: int
    canvas_height: int
    canvas_width: int
    around_down: int = 0
    """By how many pixels all is moved around the edges of a canvas that repeats downwards."""
    around_right: int = 0
    """The same to the right."""

    @classmethod
    def around(cls, height: int, width: int, least: int, repeat: Repeat = Repeat.NONE) -> "Canvas":
        """The smallest canvas for an image, at least ``least`` high and wide, the image in its middle.

        Raises ImpastoError where the image shall repeat along a side that would need a margin.
        """
        sides = [max(least, -(-length // STRIDE) * STRIDE) for length in (height, width)]
        for name, length, side, repeats in (
            ("height", height, sides[0], repeat.along_y),
            ("width", width, sides[1], repeat.along_x),
        ):
            if repeats and length != side:
                raise ImpastoError(
                    f"--tile {repeat}: a {name} of {length} px cannot repeat; scale the image to a multiple of "
                    f"{STRIDE} from {least} up."
                )
        return cls((sides[0] - height) // 2, (sides[1] - width) // 2, height, width, sides[0], sides[1])

    def moved(self, down: int, right: int, repeat: Repeat = Repeat.NONE) -> "Canvas":
        """The same image so many pixels further, on a larger canvas where it needs one; around where it repeats."""
        top, height, around_down = _moved(self.top, self.height, self.canvas_height, down, repeat.along_y)
        left, width, around_right = _moved(self.left, self.width, self.canvas_width, right, repeat.along_x)
        return Canvas(top, left, self.height, self.width, height, width, around_down, around_right)

    def put(self, pixels: np.ndarray) -> Map:
        """uint8 (channels, height, width) as a batch of one in [0, 1]: margins clear with alpha, else the edge's."""
        below = self.canvas_height - self.height - self.top
        right = self.canvas_width - self.width - self.left
        margins = ((0, 0), (self.top, below), (self.left, right))
        if len(pixels) == 4 and (pixels[3] < 255).any():
            ground = np.pad(pixels[:3], margins, constant_values=255)
            pixels = np.concatenate([ground, np.pad(pixels[3:], margins, constant_values=0)])
        else:
            pixels = np.pad(pixels, margins, mode="edge")
        image = torch.from_numpy(pixels[None]).float() / 255
        image = torch.roll(image, (self.around_down, self.around_right), (2, 3))
        return image.contiguous(memory_format=torch.channels_last)

    def take(self, decoded: Map) -> np.ndarray:
        """The image from a canvas in [0, 1], a batch of one: float32 (channels, height, width)."""
        decoded = torch.roll(decoded, (-self.around_down, -self.around_right), (2, 3))
        rows = slice(self.top, self.top + self.height)
        columns = slice(self.left, self.left + self.width)
        return decoded[0, :, rows, columns].float().cpu().numpy()


def _moved(start: int, length: int, side: int, by: int, repeats: bool) -> tuple[int, int, int]:
    """Along one side: where the image starts then, how long the canvas is, and how far all is moved around."""
    if repeats:
        return start, side, by
    needed = start + by + length
    return start + by, max(side, -(-needed // STRIDE) * STRIDE), 0
