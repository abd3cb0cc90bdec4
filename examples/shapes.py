"""Draw small sprites for a first training: the same objects in three styles, on a transparent background.

python examples/shapes.py shapes

The script writes the folder `shapes` with three collections, `outlined`, `pixel` and `shaded`, and `metadata.jsonl`,
which gives each image a text and a key. Images with the same key show the same object in different styles, so that a
model can learn what a style changes and what it keeps. The script needs only Pillow and always draws the same images.
"""

import argparse
import colorsys
import json
import math
import random
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw, ImageFilter

SIDE = 64
"""Side of a sprite in pixels."""
LARGE = 256
"""Side in pixels at which shapes are drawn before they are scaled down."""
PIXELS = 16
"""Side of a sprite of the style `pixel`, in its large pixels."""
INK = (38, 30, 46)

Part = tuple[str, list[tuple[float, float]], str]
"""A shape, its points in [0, 100] (for round shapes two corners of the bounding box), and the name of its colour."""
STAR = [(50 + r * math.sin(k * math.pi / 5), 52 - r * math.cos(k * math.pi / 5)) for k, r in enumerate([40, 18] * 5)]
HEART = [
    (50 + 2.4 * 16 * math.sin(t) ** 3, 46 - 2.4 * (13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t)))
    for t in (k * math.pi / 30 for k in range(60))
]
OBJECTS: dict[str, list[Part]] = {
    "gem": [
        ("polygon", [(50, 90), (12, 42), (28, 18), (72, 18), (88, 42)], "body"),
        ("polygon", [(12, 42), (28, 18), (40, 42)], "light"),
        ("polygon", [(28, 18), (72, 18), (60, 42), (40, 42)], "light"),
        ("polygon", [(60, 42), (88, 42), (50, 90)], "dark"),
    ],
    "potion": [
        ("polygon", [(40, 16), (60, 16), (60, 42), (40, 42)], "glass"),
        ("ellipse", [(18, 32), (82, 92)], "glass"),
        ("lower half", [(24, 38), (76, 86)], "body"),
        ("ellipse", [(36, 66), (48, 77)], "light"),
        ("polygon", [(38, 8), (62, 8), (60, 22), (40, 22)], "wood"),
    ],
    "apple": [
        ("ellipse", [(14, 30), (60, 88)], "body"),
        ("ellipse", [(40, 30), (86, 88)], "body"),
        ("polygon", [(47, 36), (44, 12), (51, 10), (54, 36)], "wood"),
        ("ellipse", [(54, 12), (82, 28)], "leaf"),
    ],
    "mushroom": [
        ("polygon", [(38, 48), (62, 48), (68, 88), (32, 88)], "cream"),
        ("upper half", [(10, 14), (90, 98)], "body"),
        ("ellipse", [(28, 32), (43, 46)], "light"),
        ("ellipse", [(58, 24), (72, 38)], "light"),
    ],
    "star": [("polygon", STAR, "body"), ("polygon", [(50, 52), *STAR[8:], STAR[0]], "light")],
    "heart": [
        ("polygon", HEART, "body"),
        ("ellipse", [(23, 27), (37, 41)], "light"),
    ],
}
HUES = {
    "red": 0.0,
    "orange": 0.08,
    "yellow": 0.14,
    "green": 0.35,
    "teal": 0.48,
    "blue": 0.6,
    "purple": 0.76,
    "pink": 0.9,
}

Layer = tuple[Image.Image, tuple[int, int, int]]
"""Mask of a part at the large size (white on black), and its colour."""


def layers(name: str, hue: float, rng: random.Random) -> list[Layer]:
    """The parts of an object, slightly stretched and rotated at random, from back to front."""
    stretch_x, stretch_y, angle = rng.uniform(0.72, 0.92), rng.uniform(0.72, 0.92), rng.uniform(-14, 14)
    colours = {
        "body": tint(hue, 0.78, 0.92),
        "light": tint(hue, 0.3, 1.0),
        "dark": tint(hue + 0.02, 0.85, 0.66),
        "glass": (206, 228, 236),
        "wood": (148, 98, 58),
        "leaf": (84, 172, 72),
        "cream": (244, 228, 200),
    }
    parts = []
    for shape, points, colour in OBJECTS[name]:
        mask = Image.new("L", (LARGE, LARGE))
        draw = ImageDraw.Draw(mask)
        places = [
            ((50 + (x - 50) * stretch_x) * LARGE / 100, (50 + (y - 50) * stretch_y) * LARGE / 100) for x, y in points
        ]
        if shape == "polygon":
            draw.polygon(places, 255)
        else:
            start, end = {"ellipse": (0, 360), "lower half": (0, 180), "upper half": (180, 360)}[shape]
            draw.chord((*places[0], *places[1]), start, end, 255)
        parts.append((mask.rotate(angle, Image.Resampling.BICUBIC), colours[colour]))
    return parts


def tint(hue: float, saturation: float, value: float) -> tuple[int, int, int]:
    """An RGB colour with channels from 0 to 255."""
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def union(masks: list[Image.Image]) -> Image.Image:
    """The union of masks."""
    whole = masks[0]
    for mask in masks[1:]:
        whole = ImageChops.lighter(whole, mask)
    return whole


def outlined(parts: list[Layer]) -> Image.Image:
    """Flat colours with thick dark outlines."""
    image = Image.new("RGBA", (LARGE, LARGE), (*INK, 0))
    for mask, _ in parts:
        image.paste((*INK, 255), mask=mask.filter(ImageFilter.GaussianBlur(6)).point(lambda v: 255 * (v > 24)))
    for mask, colour in parts:
        line = mask.filter(ImageFilter.GaussianBlur(2)).point(lambda v: 255 * (v > 24))
        image.paste((*INK, 255), mask=line)
        image.paste((*colour, 255), mask=mask)
    return image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def pixel(parts: list[Layer]) -> Image.Image:
    """Large pixels in three tones, with light from the upper left."""
    grid = (PIXELS, PIXELS)
    small = [(mask.resize(grid, Image.Resampling.BOX).point(lambda v: 255 * (v > 110)), c) for mask, c in parts]
    whole = union([mask for mask, _ in small])
    image = Image.new("RGBA", grid, (*INK, 0))
    image.paste((*INK, 255), mask=whole.filter(ImageFilter.MaxFilter(3)))
    for mask, colour in small:
        image.paste((*colour, 255), mask=mask)
    for shift, ground in ((-1, INK), (1, (255, 255, 255))):
        edge = ImageChops.subtract(whole, ImageChops.offset(whole, shift, shift))
        image.paste((*ground, 255), mask=edge.point(lambda v: v * 2 // 5))
    return image.resize((SIDE, SIDE), Image.Resampling.NEAREST)


def shaded(parts: list[Layer]) -> Image.Image:
    """Soft shading without outlines, and a shadow below the object."""
    whole = union([mask for mask, _ in parts])
    colours = Image.new("RGB", (LARGE, LARGE))
    for mask, colour in parts:
        colours.paste(colour, mask=mask)
    height = whole.filter(ImageFilter.GaussianBlur(22))
    light = ImageChops.subtract(ImageChops.offset(height, -12, -12), ImageChops.offset(height, 12, 12), 1.3, 128)
    lit = ImageChops.soft_light(colours, Image.merge("RGB", (light, light, light)))
    glint = Image.new("L", (LARGE, LARGE))
    ImageDraw.Draw(glint).ellipse((84, 76, 126, 104), 200)
    lit.paste((255, 255, 255), mask=ImageChops.multiply(glint.filter(ImageFilter.GaussianBlur(9)), whole))
    shadow = Image.new("L", (LARGE, LARGE))
    ImageDraw.Draw(shadow).ellipse((56, 214, 200, 244), 110)
    image = Image.new("RGBA", (LARGE, LARGE), (0, 0, 0, 0))
    image.putalpha(shadow.filter(ImageFilter.GaussianBlur(7)))
    lit.putalpha(whole)
    return Image.alpha_composite(image, lit).resize((SIDE, SIDE), Image.Resampling.LANCZOS)


STYLES = {"outlined": outlined, "pixel": pixel, "shaded": shaded}


def main() -> None:
    """Draw all images and print the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path, help="folder to write to")
    parser.add_argument("--count", type=int, default=240, help="number of images, in all three styles together")
    arguments = parser.parse_args()
    lines = []
    for number in range(-(-arguments.count // len(STYLES))):
        rng = random.Random(number)
        name, hue_name = list(OBJECTS)[number % len(OBJECTS)], rng.choice(list(HUES))
        parts = layers(name, HUES[hue_name] + rng.uniform(-0.02, 0.02), rng)
        for style, draw in STYLES.items():
            path = arguments.out / style / f"{number:04}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            draw(parts).save(path)
            file_name = path.relative_to(arguments.out).as_posix()
            lines.append({"file_name": file_name, "text": f"a {hue_name} {name}", "key": f"{number:04}"})
    lines = lines[: arguments.count]
    (arguments.out / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    print(f"{len(lines)} images in {arguments.out}")


if __name__ == "__main__":
    main()
