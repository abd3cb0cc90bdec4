"""From the bytes of a file to upright pixels at training size: RGB over white, and alpha where it is real."""

import io
import math
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from impasto.config import Fit
from impasto.data.source import SkippedError

FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "BMP", "GIF", "TIFF")
"""Nothing else is tried: some of Pillow's other readers start programs."""
MAX_PIXELS = 64_000_000
"""An image that claims more in its header is skipped before anything is decoded."""
LARGE_PIXELS = 16_000_000
"""Images above this are decoded one at a time, so that many threads do not hold many of them."""
MAX_ASPECT = 4
"""Longest kept side of a cropped image, in multiples of the short side; the middle is kept."""
TRANSLUCENT_ALPHA = 250
"""A pixel with alpha below this (of 255) counts as not opaque."""
REAL_ALPHA_SHARE = 0.001
"""Part of the pixels that must not be opaque for an image's alpha to count: less is a stray pixel."""

_large = threading.Lock()
_quiet_lock = threading.Lock()
_quiet_depth = 0
_quiet: warnings.catch_warnings | None = None


@dataclass(frozen=True)
class Decoded:
    """One image at training size."""

    pixels: np.ndarray
    """uint8 (channels, height, width); 4 channels if the image has real alpha, otherwise 3."""
    source_height: int
    source_width: int


def decode(data: bytes, *, resolution: int, fit: Fit, zoom: float = 1.0) -> Decoded:
    """Decode one file and fit it to ``resolution``; the first frame of an animation.

    Raises SkippedError with a reason for anything that cannot be decoded. Call inside ``quiet_pillow``.
    """
    with _decoding(data) as image:
        width, height = image.size
        # JPEG can be decoded at 1/2, 1/4 or 1/8 of its size; this leaves at least twice what is needed.
        least = math.ceil(2 * zoom * resolution)
        image.draft(image.mode, (least, least))
        with _large if image.width * image.height > LARGE_PIXELS else nullcontext():
            image.load()
            upright = _upright(image)
            if upright.size != image.size:
                width, height = height, width
            return Decoded(fit_square(_colour(upright), resolution, fit, zoom), height, width)


def decode_whole(data: bytes, *, max_side: int) -> Decoded:
    """Decode one file at its own size, or scaled down to at most ``max_side`` pixels along its longer side.

    Raises SkippedError as `decode` does. Call inside ``quiet_pillow``.
    """
    with _decoding(data) as image:
        image.draft(image.mode, (max_side, max_side))
        with _large if image.width * image.height > LARGE_PIXELS else nullcontext():
            image.load()
            upright = _colour(_upright(image))
            width, height = upright.size
            if max(width, height) > max_side:
                upright.thumbnail((max_side, max_side), Image.Resampling.LANCZOS, reducing_gap=3.0)
            return Decoded(_over_white(upright), height, width)


@contextmanager
def _decoding(data: bytes) -> Iterator[Image.Image]:
    """The image in a file, not yet loaded; whatever goes wrong becomes the reason of a SkippedError."""
    if not data:
        raise SkippedError("the file is empty")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise SkippedError(f"{image.width} x {image.height} pixels are more than {MAX_PIXELS // 10**6} million")
            yield image
    except SkippedError:
        raise
    except UnidentifiedImageError as error:
        raise SkippedError("damaged, or not the kind of image that its name says") from error
    except Exception as error:
        # Pillow's readers raise nearly anything on a damaged file: OSError, SyntaxError, struct.error, ...
        raise SkippedError(f"cannot be decoded: {error or type(error).__name__}") from error


def pads(fit: Fit, *, has_alpha: bool) -> bool:
    """Whether an image that is not square gets margins, rather than being cropped."""
    return fit is Fit.PAD or (fit is Fit.AUTO and has_alpha)


def fit_square(image: Image.Image, resolution: int, fit: Fit, zoom: float = 1.0) -> np.ndarray:
    """Bring an RGB or premultiplied RGBa image to size: uint8 (3 or 4, height, width), over white.

    PAD gives a square; CROP a short side of ``resolution``, or up to ``zoom`` times that without enlarging the image,
    and a long side of at most four times the short one.
    """
    has_alpha = image.mode == "RGBa"
    pad = pads(fit, has_alpha=has_alpha)
    if not pad:
        image = _limit_aspect(image)
    side = max(image.size) if pad else min(image.size)
    wanted = resolution if pad else max(resolution, min(side, round(zoom * resolution)))
    width, height = (max(1, round(length * wanted / side)) for length in image.size)
    if side < wanted:
        # Pixel art grows by whole factors without a blur.
        method = Image.Resampling.BICUBIC if wanted % side else Image.Resampling.NEAREST
        image = image.resize((width, height), method)
    elif side > wanted:
        image = image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)
    pixels = _over_white(image)
    if pad and height != width:
        pixels = _pad(pixels, resolution, has_alpha)
    return np.ascontiguousarray(pixels)


def _over_white(image: Image.Image) -> np.ndarray:
    """An RGB or premultiplied RGBa image as uint8 (3 or 4, height, width), its colours over white."""
    pixels = np.asarray(image).transpose(2, 0, 1)
    if image.mode != "RGBa":
        return pixels
    # Colours are premultiplied, so that the colour under clear pixels never bleeds into the rim, and laying them over
    # white is one addition. The sharpening kernels may overshoot the alpha: clip.
    alpha = pixels[3:]
    return np.concatenate([np.minimum(pixels[:3], alpha) + (255 - alpha), alpha])


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Silence warnings while images are decoded: what matters becomes the reason of a skipped image.

    Warning filters belong to the whole process, so the first to enter sets them and the last to leave
    restores them.
    """
    global _quiet_depth, _quiet
    with _quiet_lock:
        if _quiet_depth == 0:
            Image.init()  # now, rather than in many threads at once
            _quiet = warnings.catch_warnings()
            _quiet.__enter__()
            warnings.simplefilter("ignore")
        _quiet_depth += 1
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_depth -= 1
            if _quiet_depth == 0 and _quiet is not None:
                _quiet.__exit__(None, None, None)
                _quiet = None


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:
        # Broken EXIF in a sound image: it stays as it is stored.
        return image


def _colour(image: Image.Image) -> Image.Image:
    """Any mode to RGB, or to premultiplied RGBa where the alpha is real."""
    if image.mode.startswith("I") or image.mode == "F":
        image = _grey(image)
    if image.mode in ("La", "RGBa"):
        image = image.convert({"La": "LA", "RGBa": "RGBA"}[image.mode])
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    alpha = image.getchannel("A").histogram()
    if sum(alpha[:TRANSLUCENT_ALPHA]) > REAL_ALPHA_SHARE * image.width * image.height:
        return image.convert("RGBa")
    if sum(alpha[:255]) == 0:
        return image.convert("RGB")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")


def _grey(image: Image.Image) -> Image.Image:
    """16-bit, 32-bit and floating-point grey to 8 bits; Pillow's own conversion would cut the values off."""
    values = np.asarray(image)
    if image.mode.startswith("I;16"):
        grey = (values >> 8).astype(np.uint8)
    else:
        values = np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
        top = values.max(initial=0.0)
        # The range is not written in the file: take the smallest usual one that holds the values.
        usual = (1.0, 255.0, 65535.0) if image.mode == "F" else (255.0, 65535.0)
        scale = next((limit for limit in usual if top <= limit), top)
        grey = np.clip(values * (255.0 / scale), 0, 255).round().astype(np.uint8)
    result = Image.fromarray(grey)
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        result.putalpha(Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)))
    return result


def _limit_aspect(image: Image.Image) -> Image.Image:
    width, height = image.size
    limit = MAX_ASPECT * min(width, height)
    if max(width, height) <= limit:
        return image
    left, top = max(0, (width - limit) // 2), max(0, (height - limit) // 2)
    return image.crop((left, top, min(width, left + limit), min(height, top + limit)))


def _pad(pixels: np.ndarray, resolution: int, has_alpha: bool) -> np.ndarray:
    """Centre in a square: clear white around an image with alpha, the border's own colours elsewhere."""
    _, height, width = pixels.shape
    top, left = (resolution - height) // 2, (resolution - width) // 2
    margins = ((0, 0), (top, resolution - height - top), (left, resolution - width - left))
    if not has_alpha:
        return np.pad(pixels, margins, mode="edge")
    padded = np.pad(pixels, margins, constant_values=255)
    alpha = np.pad(pixels[3:], margins, constant_values=0)
    return np.concatenate([padded[:3], alpha])
