"""Variants of few images, so that what is learned from them is not the images themselves."""

import numpy as np
import torch
import torch.nn.functional as F

MAX_DEGREES = 8.0
MAX_LOG_SCALE = 0.12
MAX_SHIFT = 0.05
"""Of the image's side."""


def varied(pixels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Images a little turned, moved and scaled, some mirrored: uint8 (n, channels, side, side).

    What comes in at the edges is transparent where an image has transparent pixels, else its own mirror image.
    """
    count = len(pixels)
    angle = np.radians(random.uniform(-MAX_DEGREES, MAX_DEGREES, count))
    scale = np.exp(random.uniform(-MAX_LOG_SCALE, MAX_LOG_SCALE, count))
    mirror = random.choice([-1.0, 1.0], count)
    shift = 2 * random.uniform(-MAX_SHIFT, MAX_SHIFT, (count, 2, 1))  # from edge to edge it is 2
    turn = np.stack([np.cos(angle) * mirror, -np.sin(angle), np.sin(angle) * mirror, np.cos(angle)], 1)
    matrix = np.concatenate([(scale[:, None] * turn).reshape(count, 2, 2), shift], 2)
    image = torch.from_numpy(pixels).float() / 255
    # Counted from white and from transparent, what is not there is zero.
    ground = torch.tensor([1.0, 1.0, 1.0, 0.0][: pixels.shape[1]])[None, :, None, None]
    places = F.affine_grid(torch.from_numpy(matrix).float(), list(image.shape), align_corners=False)
    cut, continued = (
        ground + F.grid_sample(image - ground, places, padding_mode=padding, align_corners=False)
        for padding in ("zeros", "reflection")
    )
    has_holes = (image[:, 3:] < 1).flatten(1).any(1)
    chosen = torch.where(has_holes[:, None, None, None], cut, continued)
    return (chosen * 255).round().clamp(0, 255).byte().numpy()
