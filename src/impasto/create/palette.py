"""Palettes and pixel art: restrict an image to few colours, or to a coarse grid of pixels with hard alpha."""

import dataclasses
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from impasto.config import Output
from impasto.create.image import over_white
from impasto.errors import ImpastoError

MAX_COLOURS = 256
"""Maximum number of colours in a palette of Pillow."""
MAX_FILE_BYTES = 1 << 20
"""Maximum size of a text file of colours."""
MAX_PIXELS = 4096**2
"""Maximum size of an image that serves as a palette."""
PIXEL_ART_COLOURS = 32
"""Number of colours of pixel art without a palette."""
OPAQUE = 128
"""Minimum alpha, of 255, of a visible pixel of pixel art."""

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Palette:
    """Fixed colours, or a number of colours that are fitted to each image."""

    count: int
    """Number of colours, 2 to 256."""
    colours: tuple[Colour, ...] = ()
    """Red, green and blue from 0 to 255; empty if the colours are fitted to each image."""

    def __str__(self) -> str:
        """A number or a list of colours, as `read_palette` reads them."""
        return ",".join(bytes(colour).hex() for colour in self.colours) or str(self.count)


def read_palette(text: str) -> Palette:
    """Read a palette: a number, colours such as ``ff0000,000000``, or a file.

    A file is an image with at most 256 colours, a GIMP palette (.gpl), or a text with one hexadecimal colour per line.
    Raises ImpastoError otherwise.
    """
    if re.fullmatch(r"\d{1,9}", text):
        count = int(text)
        if not 2 <= count <= MAX_COLOURS:
            raise ImpastoError(f"--palette {text}: use 2 to {MAX_COLOURS} colours.")
        return Palette(count)
    if re.fullmatch(r"[0-9a-fA-F]{6}(,[0-9a-fA-F]{6})+", text):
        colours = tuple(map(_from_hexadecimal, text.split(",")))
    elif (path := Path(text)).is_file():
        colours = _of_image(path) or tuple(_of_text(path))
    else:
        raise ImpastoError(f"--palette {text[:80]}: use a number of colours, hexadecimal colours or a file.")
    colours = tuple(dict.fromkeys(colours))
    if not 2 <= len(colours) <= MAX_COLOURS:
        raise ImpastoError(f"--palette {text[:80]}: it has {len(colours)} colours; use 2 to {MAX_COLOURS}.")
    return Palette(len(colours), colours)


def check_pixel_art(side: int | None, height: int, width: int, name: str = "the image") -> None:
    """Raise ImpastoError if pixel art of ``side`` pixels is larger than the image, ``height`` x ``width`` pixels."""
    if side is not None and side > max(height, width):
        raise ImpastoError(f"--pixel-art {side}: {name} is only {width} x {height} px.")


def resolve_palette(output: Output) -> tuple[Output, Palette | None]:
    """``output`` with the colours of its palette instead of a file name, and the palette.

    Raises ImpastoError as `read_palette` does.
    """
    if output.palette is None:
        return output, None
    palette = read_palette(output.palette)
    return dataclasses.replace(output, palette=str(palette)), palette


def finish(image: Image.Image, output: Output, palette: Palette | None) -> Image.Image:
    """Apply ``output`` to an image: white background, pixel art, or the colours of ``palette``."""
    image = over_white(image) if output.opaque else image
    if output.pixel_art is not None:
        return to_pixel_art(image, output.pixel_art, palette or Palette(PIXEL_ART_COLOURS))
    return image if palette is None else lock(image, palette)


def lock(image: Image.Image, palette: Palette) -> Image.Image:
    """Replace each colour of an image by the nearest one of ``palette``; alpha stays.

    Transparent pixels get the first colour, so that the file holds no others.
    """
    pixels = np.asarray(image.convert("RGBA")).copy()
    pixels[..., :3] = _indexed(pixels[..., :3], pixels[..., 3] > 0, palette).rgb
    return Image.fromarray(pixels if image.has_transparency_data else pixels[..., :3].copy())


def to_pixel_art(image: Image.Image, side: int, palette: Palette) -> Image.Image:
    """Reduce an image to ``side`` pixels along its longer side, in the colours of ``palette``.

    Each pixel gets the most frequent colour of its square, so outlines stay hard. Alpha is 0 or 255. Raises
    ImpastoError if the image is smaller than that.
    """
    longest = max(image.size)
    if not 1 <= side <= longest:
        raise ImpastoError(f"--pixel-art {side}: the image has {longest} pixels along its longer side.")
    columns, rows = (max(1, round(length * side / longest)) for length in image.size)
    pixels = np.asarray(image.convert("RGBA"))
    visible = pixels[..., 3] >= OPAQUE
    indexed = _indexed(pixels[..., :3], visible, palette)
    y, x = (np.arange(n) * cells // n for n, cells in ((image.height, rows), (image.width, columns)))
    square = y[:, None] * columns + x
    votes, counts = np.unique(square[visible] * MAX_COLOURS + indexed.of_pixel[visible], return_counts=True)
    order = np.argsort(counts, kind="stable")  # the most frequent colour is written last
    colour = np.zeros(rows * columns, np.int64)
    colour[votes[order] // MAX_COLOURS] = votes[order] % MAX_COLOURS
    num_visible, num_pixels = (np.bincount(s.ravel(), minlength=rows * columns) for s in (square[visible], square))
    alpha = np.where(2 * num_visible >= num_pixels, 255, 0).astype(np.uint8)
    art = np.concatenate([indexed.colours[colour], alpha[:, None]], 1).reshape(rows, columns, 4)
    return Image.fromarray(art if image.has_transparency_data else art[..., :3].copy())


@dataclass(frozen=True)
class _Indexed:
    """An image as indices of colours."""

    colours: np.ndarray
    """uint8 (colour, 3)."""
    of_pixel: np.ndarray
    """int64 (height, width): index of the colour of each pixel; 0 for invisible pixels."""

    @property
    def rgb(self) -> np.ndarray:
        """uint8 (height, width, 3)."""
        return self.colours[self.of_pixel]


def _indexed(rgb: np.ndarray, visible: np.ndarray, palette: Palette) -> _Indexed:
    """Index an image by the nearest colours of ``palette``. Colours are fitted to visible pixels only."""
    index = np.zeros(visible.shape, np.int64)
    if not visible.any():
        return _Indexed(np.array(palette.colours or ((255, 255, 255),), np.uint8), index)
    strip = Image.fromarray(rgb[visible][None])
    if palette.colours:
        fixed = Image.new("P", (1, 1))
        # Pillow fills up a short palette with other colours.
        padded = palette.colours + (MAX_COLOURS - palette.count) * palette.colours[:1]
        fixed.putpalette([value for colour in padded for value in colour])
        quantized = strip.quantize(palette=fixed, dither=Image.Dither.NONE)
        colours = np.array(padded, np.uint8)
    else:
        quantized = strip.quantize(palette.count, Image.Quantize.MEDIANCUT, kmeans=4, dither=Image.Dither.NONE)
        colours = np.array(quantized.getpalette("RGB"), np.uint8).reshape(-1, 3)
    index[visible] = np.asarray(quantized)[0]
    return _Indexed(colours, index)


def _of_image(path: Path) -> tuple[Colour, ...]:
    """The distinct visible colours of an image in reading order; empty if the file is not an image."""
    from impasto.data.decode import FORMATS

    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ImpastoError(f"--palette {path}: an image of {image.width} x {image.height} pixels is too large.")
            pixels = np.asarray(image.convert("RGBA")).reshape(-1, 4)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return ()
    colours, first = np.unique(pixels[pixels[:, 3] >= OPAQUE, :3], axis=0, return_index=True)
    if len(colours) > MAX_COLOURS:
        raise ImpastoError(f"--palette {path}: it has {len(colours)} colours; use at most {MAX_COLOURS}.")
    return tuple((int(r), int(g), int(b)) for r, g, b in colours[np.argsort(first)])


def _of_text(path: Path) -> Iterator[Colour]:
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ImpastoError(f"--palette {path}: it is neither an image nor a list of colours.")
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if match := re.match(r"\s*(?:#|0x)?([0-9a-fA-F]{6})\s*$", line):
            yield _from_hexadecimal(match[1])
        elif match := re.match(r"\s*(\d{1,3})\s+(\d{1,3})\s+(\d{1,3})(?:\s|$)", line):
            red, green, blue = (min(255, int(value)) for value in match.groups())
            yield red, green, blue


def _from_hexadecimal(text: str) -> Colour:
    red, green, blue = bytes.fromhex(text)
    return red, green, blue
