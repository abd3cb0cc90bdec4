"""Variants of images for finetuning on few images: they reduce memorisation."""

import numpy as np
import torch
import torch.nn.functional as F

MAX_DEGREES = 8.0
MAX_LOG_SCALE = 0.12
MAX_SHIFT = 0.05
"""In sides of the image."""


def random_variants(pixels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Images under small random rotations, shifts and scales, half of them mirrored: uint8 (n, channels, side, side).

    Beyond the edges, images with transparent pixels continue transparent, and others are reflected.
    """
    count = len(pixels)
    angle = np.radians(random.uniform(-MAX_DEGREES, MAX_DEGREES, count))
    scale = np.exp(random.uniform(-MAX_LOG_SCALE, MAX_LOG_SCALE, count))
    mirror = random.choice([-1.0, 1.0], count)
    shift = 2 * random.uniform(-MAX_SHIFT, MAX_SHIFT, (count, 2, 1))  # the grid's coordinates are -1 to 1
    rotation = np.stack([np.cos(angle) * mirror, -np.sin(angle), np.sin(angle) * mirror, np.cos(angle)], 1)
    matrix = np.concatenate([(scale[:, None] * rotation).reshape(count, 2, 2), shift], 2)
    image = torch.from_numpy(pixels).float() / 255
    # Zero padding of the difference to transparent white gives transparent white.
    background = torch.tensor([1.0, 1.0, 1.0, 0.0][: pixels.shape[1]])[None, :, None, None]
    grid = F.affine_grid(torch.from_numpy(matrix).float(), list(image.shape), align_corners=False)
    transparent, reflected = (
        background + F.grid_sample(image - background, grid, padding_mode=padding, align_corners=False)
        for padding in ("zeros", "reflection")
    )
    has_transparency = (image[:, 3:] < 1).flatten(1).any(1)
    variants = torch.where(has_transparency[:, None, None, None], transparent, reflected)
    return (variants * 255).round().clamp(0, 255).byte().numpy()
