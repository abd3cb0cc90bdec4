"""A hard palette for finished images, and the grid of true pixel art."""

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
"""What Pillow's palettes hold."""
MAX_FILE_BYTES = 1 << 20
"""A list of colours is never longer."""
MAX_PIXELS = 4096**2
PIXEL_ART_COLOURS = 32
"""Where no palette is asked for."""
OPAQUE = 128
"""Alpha from which a pixel of pixel art is there."""

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Palette:
    """Either so many colours, chosen for each image, or these."""

    count: int
    """Number of colours, 2 to 256."""
    colours: tuple[Colour, ...] = ()
    """The colours themselves, red, green and blue from 0 to 255; empty where each image gets its own."""

    def __str__(self) -> str:
        """What `read_palette` reads back: a number, or the colours."""
        return ",".join(bytes(colour).hex() for colour in self.colours) or str(self.count)


def read_palette(text: str) -> Palette:
    """A number, colours like ``ff0000,000000``, or a file.

    The file is an image with at most 256 colours, a GIMP palette (.gpl), or hexadecimal colours, one a line. Raises
    ImpastoError for anything else.
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
        raise ImpastoError(f"--palette {text[:80]}: neither a number of colours, nor colours, nor a file.")
    colours = tuple(dict.fromkeys(colours))
    if not 2 <= len(colours) <= MAX_COLOURS:
        raise ImpastoError(f"--palette {text[:80]}: it has {len(colours)} colours; needed are 2 to {MAX_COLOURS}.")
    return Palette(len(colours), colours)


def check_pixel_art(side: int | None, height: int, width: int, name: str = "the image") -> None:
    """Refuse pixel art with more pixels along its longer side than ``name``, of this height and width, has."""
    if side is not None and side > max(height, width):
        raise ImpastoError(f"--pixel-art {side}: {name} is only {width} x {height} px.")


def resolved(output: Output) -> tuple[Output, Palette | None]:
    """``output`` with the colours of its palette instead of a file, and the palette. Raises as `read_palette` does."""
    if output.palette is None:
        return output, None
    palette = read_palette(output.palette)
    return dataclasses.replace(output, palette=str(palette)), palette


def finished(image: Image.Image, output: Output, palette: Palette | None) -> Image.Image:
    """``image`` over white, as pixel art, or locked to the ``palette`` that was read, as ``output`` asks for it."""
    image = over_white(image) if output.opaque else image
    if output.pixel_art is not None:
        return to_pixel_art(image, output.pixel_art, palette or Palette(PIXEL_ART_COLOURS))
    return image if palette is None else lock(image, palette)


def lock(image: Image.Image, palette: Palette) -> Image.Image:
    """``image`` in no other colours than those of ``palette``; alpha is kept.

    Clear pixels take the first colour, so that none outside the palette is in the file.
    """
    pixels = np.asarray(image.convert("RGBA")).copy()
    pixels[..., :3] = _indexed(pixels[..., :3], pixels[..., 3] > 0, palette).rgb
    return Image.fromarray(pixels if image.has_transparency_data else pixels[..., :3].copy())


def to_pixel_art(image: Image.Image, side: int, palette: Palette) -> Image.Image:
    """``image`` on a grid of true pixels, ``side`` of them along its longer side, in the colours of ``palette``.

    Every pixel takes the colour that most of its square has, so outlines stay hard; alpha is all or nothing. Raises
    ImpastoError where the image is smaller than the grid.
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
    order = np.argsort(counts, kind="stable")  # the colour with most votes comes last, and stays
    colour = np.zeros(rows * columns, np.int64)
    colour[votes[order] // MAX_COLOURS] = votes[order] % MAX_COLOURS
    there, all_ = (np.bincount(s.ravel(), minlength=rows * columns) for s in (square[visible], square))
    alpha = np.where(2 * there >= all_, 255, 0).astype(np.uint8)
    art = np.concatenate([indexed.colours[colour], alpha[:, None]], 1).reshape(rows, columns, 4)
    return Image.fromarray(art if image.has_transparency_data else art[..., :3].copy())


@dataclass(frozen=True)
class _Indexed:
    """An image as numbers of colours."""

    colours: np.ndarray
    """uint8 (colour, 3)."""
    of_pixel: np.ndarray
    """int64 (height, width): the colour of each pixel; 0 where it is not visible."""

    @property
    def rgb(self) -> np.ndarray:
        """uint8 (height, width, 3)."""
        return self.colours[self.of_pixel]


def _indexed(rgb: np.ndarray, visible: np.ndarray, palette: Palette) -> _Indexed:
    """The nearest colours; only visible pixels choose them where the palette is free."""
    index = np.zeros(visible.shape, np.int64)
    if not visible.any():
        return _Indexed(np.array(palette.colours or ((255, 255, 255),), np.uint8), index)
    strip = Image.fromarray(rgb[visible][None])
    if palette.colours:
        fixed = Image.new("P", (1, 1))
        # Pillow fills a short palette with colours of its own.
        every = palette.colours + (MAX_COLOURS - palette.count) * palette.colours[:1]
        fixed.putpalette([value for colour in every for value in colour])
        found = strip.quantize(palette=fixed, dither=Image.Dither.NONE)
        colours = np.array(every, np.uint8)
    else:
        found = strip.quantize(palette.count, Image.Quantize.MEDIANCUT, kmeans=4, dither=Image.Dither.NONE)
        colours = np.array(found.getpalette("RGB"), np.uint8).reshape(-1, 3)
    index[visible] = np.asarray(found)[0]
    return _Indexed(colours, index)


def _of_image(path: Path) -> tuple[Colour, ...]:
    """The distinct colours of an image in the order in which they come; none where it is no image."""
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
        raise ImpastoError(f"--palette {path}: it has {len(colours)} colours, at most {MAX_COLOURS} make a palette.")
    return tuple((int(r), int(g), int(b)) for r, g, b in colours[np.argsort(first)])


def _of_text(path: Path) -> Iterator[Colour]:
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ImpastoError(f"--palette {path}: neither an image nor a list of colours.")
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if match := re.match(r"\s*(?:#|0x)?([0-9a-fA-F]{6})\s*$", line):
            yield _from_hexadecimal(match[1])
        elif match := re.match(r"\s*(\d{1,3})\s+(\d{1,3})\s+(\d{1,3})(?:\s|$)", line):
            red, green, blue = (min(255, int(value)) for value in match.groups())
            yield red, green, blue


def _from_hexadecimal(text: str) -> Colour:
    red, green, blue = bytes.fromhex(text)
    return red, green, blue
