"""Decoding a file to upright pixels at training size: RGB over white, and alpha if the image has transparency."""

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
"""Other formats are not tried: some of Pillow's readers start programs."""
MAX_PIXELS = 64_000_000
"""Images with more pixels, according to their header, are skipped before decoding."""
LARGE_PIXELS = 16_000_000
"""Larger images are decoded one at a time, which bounds the memory of all threads."""
MAX_ASPECT = 4
"""Maximal long side of a cropped image, in multiples of the short side; the centre is kept."""
TRANSLUCENT_ALPHA = 250
"""Pixels with a lower alpha (of 255) count as not opaque."""
MIN_TRANSLUCENT_SHARE = 0.001
"""Minimal share of pixels that are not opaque in an image with alpha; a single stray pixel does not count."""

_large = threading.Lock()
_quiet_lock = threading.Lock()
_quiet_depth = 0
_quiet: warnings.catch_warnings | None = None


@dataclass(frozen=True)
class Decoded:
    """One image at training size."""

    pixels: np.ndarray
    """uint8 (channels, height, width); 4 channels if the image has transparency, else 3."""
    source_height: int
    source_width: int


def decode(data: bytes, *, resolution: int, fit: Fit, zoom: float = 1.0) -> Decoded:
    """Decode one file, of an animation the first frame, and fit it to ``resolution``.

    Raises SkippedError with a reason if it cannot be decoded. Call it inside ``quiet_pillow``.
    """
    with _decoding(data) as image:
        width, height = image.size
        # JPEG can be decoded at 1/2, 1/4 or 1/8 of its size; at least twice the final size remains.
        min_decoded_side = math.ceil(2 * zoom * resolution)
        image.draft(image.mode, (min_decoded_side, min_decoded_side))
        with _large if image.width * image.height > LARGE_PIXELS else nullcontext():
            image.load()
            upright = _upright(image)
            if upright.size != image.size:
                width, height = height, width
            return Decoded(fit_square(_colour(upright), resolution, fit, zoom), height, width)


def decode_whole(data: bytes, *, max_side: int) -> Decoded:
    """Decode one file at its own size, or scaled down to ``max_side`` pixels along its longer side.

    Raises SkippedError as `decode` does. Call it inside ``quiet_pillow``.
    """
    with _decoding(data) as image:
        width, height = image.size
        image.draft(image.mode, (max_side, max_side))
        with _large if image.width * image.height > LARGE_PIXELS else nullcontext():
            image.load()
            upright = _upright(image)
            if upright.size != image.size:
                width, height = height, width
            upright = _colour(upright)
            if max(upright.size) > max_side:
                upright.thumbnail((max_side, max_side), Image.Resampling.LANCZOS, reducing_gap=3.0)
            return Decoded(_over_white(upright), height, width)


@contextmanager
def _decoding(data: bytes) -> Iterator[Image.Image]:
    """The image in a file, not yet loaded; any exception becomes a SkippedError."""
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
        raise SkippedError("damaged, or not a supported image format") from error
    except Exception as error:
        # Pillow's readers raise almost any exception on damaged files: OSError, SyntaxError, struct.error, ...
        raise SkippedError(f"cannot be decoded: {error or type(error).__name__}") from error


def pads(fit: Fit, *, has_alpha: bool) -> bool:
    """Whether an image that is not square is padded rather than cropped."""
    return fit in (Fit.PAD, Fit.KEEP) or (fit is Fit.AUTO and has_alpha)


def fit_square(image: Image.Image, resolution: int, fit: Fit, zoom: float = 1.0) -> np.ndarray:
    """Resize an RGB or premultiplied RGBa image: uint8 (3 or 4, height, width), over white.

    PAD gives a square of ``resolution``, and KEEP the same without enlarging. CROP gives a short side of
    ``resolution``, or up to ``zoom`` times that if the image is larger, and a long side of at most four times the short
    side.
    """
    has_alpha = image.mode == "RGBa"
    pad = pads(fit, has_alpha=has_alpha)
    if not pad:
        image = _limit_aspect(image)
    side = max(image.size) if pad else min(image.size)
    target = resolution if pad else max(resolution, min(side, round(zoom * resolution)))
    width, height = (max(1, round(length * target / side)) for length in image.size)
    if side < target and fit is not Fit.KEEP:
        # Integer factors keep the edges of pixel art sharp.
        method = Image.Resampling.BICUBIC if target % side else Image.Resampling.NEAREST
        image = image.resize((width, height), method)
    elif side > target:
        image = image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)
    pixels = _over_white(image)
    if pad and pixels.shape[1:] != (resolution, resolution):
        pixels = _pad(pixels, resolution, has_alpha)
    return np.ascontiguousarray(pixels)


def _over_white(image: Image.Image) -> np.ndarray:
    """An RGB or premultiplied RGBa image as uint8 (3 or 4, height, width), its colours over white."""
    pixels = np.asarray(image).transpose(2, 0, 1)
    if image.mode != "RGBa":
        return pixels
    # Premultiplied colours do not bleed from transparent pixels into edges, and compositing over white is one addition.
    # Resampling kernels can overshoot alpha, hence the minimum.
    alpha = pixels[3:]
    return np.concatenate([np.minimum(pixels[:3], alpha) + (255 - alpha), alpha])


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Ignore Pillow's warnings: problems of an image become the reason of a SkippedError.

    Warning filters are global to the process: the first caller sets them, and the last one restores them.
    """
    global _quiet_depth, _quiet
    with _quiet_lock:
        if _quiet_depth == 0:
            Image.init()  # here, not in several threads at once
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
        # Invalid EXIF in a valid image: keep the stored orientation.
        return image


def _colour(image: Image.Image) -> Image.Image:
    """Convert any mode to RGB, or to premultiplied RGBa if the image has transparency."""
    if image.mode.startswith("I") or image.mode == "F":
        image = _grey(image)
    if image.mode in ("La", "RGBa"):
        image = image.convert({"La": "LA", "RGBa": "RGBA"}[image.mode])
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    alpha = image.getchannel("A").histogram()
    if sum(alpha[:TRANSLUCENT_ALPHA]) > MIN_TRANSLUCENT_SHARE * image.width * image.height:
        return image.convert("RGBa")
    if sum(alpha[:255]) == 0:
        return image.convert("RGB")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")


def _grey(image: Image.Image) -> Image.Image:
    """Convert 16-bit, 32-bit and floating-point grey to 8 bits; Pillow's own conversion clips the values."""
    values = np.asarray(image)
    if image.mode.startswith("I;16"):
        grey = (values >> 8).astype(np.uint8)
    else:
        values = np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
        top = values.max(initial=0.0)
        # Files do not store the range: take the smallest common range that contains the values.
        ranges = (1.0, 255.0, 65535.0) if image.mode == "F" else (255.0, 65535.0)
        scale = next((limit for limit in ranges if top <= limit), top)
        grey = np.clip(values * (255.0 / scale), 0, 255).round().astype(np.uint8)
    result = Image.fromarray(grey)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        result.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
    return result


def _limit_aspect(image: Image.Image) -> Image.Image:
    width, height = image.size
    limit = MAX_ASPECT * min(width, height)
    if max(width, height) <= limit:
        return image
    left, top = max(0, (width - limit) // 2), max(0, (height - limit) // 2)
    return image.crop((left, top, min(width, left + limit), min(height, top + limit)))


def _pad(pixels: np.ndarray, resolution: int, has_alpha: bool) -> np.ndarray:
    """Pad to a centred square: transparent white around images with alpha, else repeated border pixels."""
    _, height, width = pixels.shape
    top, left = (resolution - height) // 2, (resolution - width) // 2
    margins = ((0, 0), (top, resolution - height - top), (left, resolution - width - left))
    if not has_alpha:
        return np.pad(pixels, margins, mode="edge")
    padded = np.pad(pixels, margins, constant_values=255)
    alpha = np.pad(pixels[3:], margins, constant_values=0)
    return np.concatenate([padded[:3], alpha])
