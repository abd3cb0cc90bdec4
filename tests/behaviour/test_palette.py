"""Palettes and pixel art: the requested colours, and no others."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from images import colours_of, noise
from impasto.create.palette import Palette, lock, read_palette, to_pixel_art
from impasto.errors import ImpastoError

RED, BLACK, WHITE = (255, 0, 0), (0, 0, 0), (255, 255, 255)


@pytest.mark.parametrize("colours", [(RED, WHITE), (WHITE, RED, (0, 0, 255))])
def test_a_locked_image_has_only_colours_of_the_palette(colours: tuple[tuple[int, int, int], ...]) -> None:
    locked = lock(noise(mode="RGBA"), Palette(len(colours), colours))
    assert colours_of(locked) <= set(colours)
    dark = lock(Image.new("RGB", (4, 4), BLACK), Palette(len(colours), colours))
    assert colours_of(dark) <= set(colours), "black is not in the palette"


def test_an_image_in_its_own_palette_does_not_change() -> None:
    image = Image.fromarray(np.random.default_rng(0).choice(np.array([RED, BLACK, WHITE], np.uint8), (20, 20)))
    assert np.array_equal(np.asarray(lock(image, Palette(3, (RED, BLACK, WHITE)))), np.asarray(image))
    assert colours_of(lock(image, Palette(3))) == {RED, BLACK, WHITE}


def test_pixel_art_keeps_the_most_frequent_colour_of_a_square() -> None:
    small = np.random.default_rng(0).choice(np.array([RED, BLACK, WHITE], np.uint8), (16, 16))
    large = Image.fromarray(small).resize((64, 64), Image.Resampling.NEAREST)
    assert np.array_equal(np.asarray(to_pixel_art(large, 16, Palette(3))), small)
    assert to_pixel_art(large.resize((64, 32)), 16, Palette(3)).size == (16, 8)
    with pytest.raises(ImpastoError, match="pixel_art 65"):
        to_pixel_art(large, 65, Palette(3))


def test_pixel_art_has_hard_alpha() -> None:
    art = to_pixel_art(noise(64, 64, mode="RGBA"), 20, Palette(5))
    assert set(np.unique(np.asarray(art)[..., 3])) == {0, 255}
    clear = to_pixel_art(Image.new("RGBA", (8, 8)), 4, Palette(2))
    assert not np.asarray(clear)[..., 3].any()


def test_palettes_from_files(tmp_path: Path) -> None:
    (tmp_path / "a.hex").write_text("ff0000\n#000000\n0xFFFFFF\n")
    (tmp_path / "a.gpl").write_text(
        "GIMP Palette\nName: x\nColumns: 3\n# comment\n255 0 0\tred\n  0   0   0 black\n255 255 255\n"
    )
    Image.fromarray(np.array([[RED, BLACK, WHITE, RED]], np.uint8)).save(tmp_path / "a.png")
    for name in ("a.hex", "a.gpl", "a.png"):
        assert read_palette(str(tmp_path / name)) == Palette(3, (RED, BLACK, WHITE))
    for palette in (Palette(16), Palette(3, (RED, BLACK, WHITE))):
        assert read_palette(str(palette)) == palette


def test_unusable_palettes_are_named(tmp_path: Path) -> None:
    noise(64, 64).save(tmp_path / "many.png")
    (tmp_path / "text.txt").write_text("hello")
    for text, message in [
        ("1", "2 to 256"),
        ("257", "2 to 256"),
        ("none.png", "use a number of colours"),
        (str(tmp_path / "many.png"), "colours; use at most 256"),
        (str(tmp_path / "text.txt"), "it has 0 colours"),
    ]:
        with pytest.raises(ImpastoError, match=message):
            read_palette(text)
