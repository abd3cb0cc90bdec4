"""Labelled sheets of images: previews, grids and comparisons."""

from collections.abc import Sequence
from typing import Literal

from PIL import Image, ImageDraw, ImageFont

GAP = 4
"""Space between cells and around labels, in pixels."""
FONT_SIZE = 14
MAX_LABEL_WIDTH = 240
INK = "#202020"
CHECKER_SIDE = 8
CHECKER_COLOURS = ("#ffffff", "#d8d8d8")


def grid(
    rows: Sequence[Sequence[Image.Image]],
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    *,
    cell: int | None = None,
    background: Literal["white", "checker"] = "white",
) -> Image.Image:
    """An RGB sheet of ``rows``, which may differ in length, with labels at the left and at the top.

    ``cell`` is the side of a square cell in pixels; it defaults to the largest side of all images. Smaller images are
    enlarged by an integer factor without interpolation, larger ones are scaled down. Every image is centred in its
    cell. ``background`` is behind transparent pixels. Raises ValueError if there is no image, or there are more labels
    than rows or columns.
    """
    images = [image for row in rows for image in row]
    num_columns = max((len(row) for row in rows), default=0)
    if not images or len(row_labels) > len(rows) or len(column_labels) > num_columns:
        raise ValueError("a grid needs an image, and no more labels than rows and columns")
    side = cell or max(max(image.size) for image in images)
    font = ImageFont.load_default(size=FONT_SIZE)
    left = max((_width(_cut(label, font, MAX_LABEL_WIDTH), font) for label in row_labels), default=0)
    left += 2 * GAP if left else GAP
    top = GAP + (FONT_SIZE + 2 * GAP if any(column_labels) else 0)
    pitch = side + GAP
    sheet = Image.new("RGB", (left + num_columns * pitch, top + len(rows) * pitch), "white")
    draw = ImageDraw.Draw(sheet)
    for column, label in enumerate(column_labels):
        centre = left + column * pitch + side / 2
        draw.text((centre, top - 2 * GAP), _cut(label, font, side), INK, font, anchor="ms")
    for row, label in enumerate(row_labels):
        middle = top + row * pitch + side / 2
        draw.text((GAP, middle), _cut(label, font, MAX_LABEL_WIDTH), INK, font, anchor="lm")
    for y, row_images in enumerate(rows):
        for x, image in enumerate(row_images):
            sheet.paste(_framed(image, side, background), (left + x * pitch, top + y * pitch))
    return sheet


def _framed(image: Image.Image, side: int, background: str) -> Image.Image:
    """Scale an image to fit a square of ``side`` pixels, over ``background``."""
    rgba = image.convert("RGBA")
    longest = max(rgba.size)
    if longest > side:
        size = (max(1, rgba.width * side // longest), max(1, rgba.height * side // longest))
        rgba = rgba.resize(size, Image.Resampling.LANCZOS)
    elif (factor := side // longest) > 1:
        rgba = rgba.resize((rgba.width * factor, rgba.height * factor), Image.Resampling.NEAREST)
    frame = _checker(side) if background == "checker" else Image.new("RGBA", (side, side), "white")
    frame.alpha_composite(rgba, ((side - rgba.width) // 2, (side - rgba.height) // 2))
    return frame.convert("RGB")


def _checker(side: int) -> Image.Image:
    frame = Image.new("RGBA", (side, side), CHECKER_COLOURS[0])
    draw = ImageDraw.Draw(frame)
    for y in range(0, side, CHECKER_SIDE):
        for x in range((y // CHECKER_SIDE + 1) % 2 * CHECKER_SIDE, side, 2 * CHECKER_SIDE):
            draw.rectangle((x, y, x + CHECKER_SIDE - 1, y + CHECKER_SIDE - 1), CHECKER_COLOURS[1])
    return frame


def _cut(label: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """Put a label on one line, and shorten it with an ellipsis to fit ``width`` pixels."""
    label = " ".join(label.split())[:200]
    if _width(label, font) <= width:
        return label
    while label and _width(label + "...", font) > width:
        label = label[:-1]
    return label + "..." if label else ""


def _width(label: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> int:
    return round(font.getlength(label)) if label else 0
