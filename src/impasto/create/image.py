"""Convert arrays of a decoder to images with straight alpha and without colour fringes."""

import numpy as np
from PIL import Image

from impasto.config import LUMA

FILL_ROUNDS = 8
"""Distance in pixels by which colour spreads into transparent areas. Resize filters have a smaller radius."""


def to_image(array: np.ndarray) -> Image.Image:
    """Convert an array, (channels, height, width), to an image.

    Values are uint8, or floats in [0, 1]; floats outside are clipped. Three channels are RGB. Four channels are RGB
    over white, and alpha; the image then has straight alpha (mode RGBA). Raises ValueError for other shapes and for
    values that are not finite.
    """
    if array.ndim != 3 or array.shape[0] not in (3, 4) or 0 in array.shape:
        raise ValueError(f"expected (3 or 4, height, width), not {array.shape}")
    values = array.astype(np.float32).transpose(1, 2, 0)
    if array.dtype == np.uint8:
        values /= 255
    if not np.isfinite(values).all():
        raise ValueError("the image has values that are not finite")
    values = values.clip(0, 1)
    if values.shape[2] == 3:
        return Image.fromarray(_quantized(values))
    # Divide by the rounded alpha, which the file holds: for a low alpha the exact one would give a wrong colour.
    alpha = _quantized(values[..., 3:])
    colour = _straight(values[..., :3], alpha.astype(np.float32) / 255)
    return Image.fromarray(np.concatenate([_quantized(colour), alpha], axis=2))


def over_white(image: Image.Image) -> Image.Image:
    """Composite an image over white: mode RGB."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    ground = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(ground, image.convert("RGBA")).convert("RGB")


def with_colours_of(decoded: np.ndarray, original: np.ndarray) -> np.ndarray:
    """Combine the lightness and alpha of ``decoded`` with the chroma of ``original`` (YCbCr of JPEG).

    Both arrays are (3 or 4, height, width) in [0, 1], RGB over white and alpha.
    """
    shift = np.tensordot(np.array(LUMA, np.float32), decoded[:3] - original[:3], 1)
    return np.concatenate([(original[:3] + shift).clip(0, 1), decoded[3:]])


def _quantized(values: np.ndarray) -> np.ndarray:
    return np.rint(values * 255).astype(np.uint8)


def _straight(over: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Undo compositing over white: (p - (1 - a)) / a for colours p (h, w, 3) and alpha a (h, w, 1)."""
    visible = alpha > 0
    colour = (over - (1 - alpha)) / np.where(visible, alpha, 1)
    return _spread(colour.clip(0, 1), visible[..., 0])


def _spread(colour: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Fill unknown pixels with the mean of their known neighbours, ring by ring; distant ones become white.

    A transparent pixel has no visible colour. But filters that scale straight alpha blend its colour into the edge:
    black gives a dark halo, white a bright one.
    """
    height, width = known.shape
    colour = np.where(known[..., None], colour, 0)
    for _ in range(FILL_ROUNDS):
        if known.all() or not known.any():
            break
        total = np.zeros_like(colour)
        count = np.zeros((height, width, 1), np.float32)
        padded = np.pad(colour, ((1, 1), (1, 1), (0, 0)))
        padded_known = np.pad(known, 1)
        for y in range(3):
            for x in range(3):
                total += padded[y : y + height, x : x + width]
                count += padded_known[y : y + height, x : x + width, None]
        ring = ~known & (count[..., 0] > 0)
        colour[ring] = total[ring] / count[ring]
        known = known | ring
    return np.where(known[..., None], colour, 1)
