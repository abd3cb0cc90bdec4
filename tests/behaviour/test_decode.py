"""Decoding: formats, modes, alpha, orientation, resizing and damaged files."""

import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile

from images import encode, noise
from impasto.config import Fit
from impasto.data import decode as decoding
from impasto.data.decode import quiet_pillow
from impasto.data.source import SkippedError


def decode(data: bytes, resolution: int = 32, fit: Fit = Fit.AUTO) -> np.ndarray:
    with quiet_pillow():
        return decoding.decode(data, resolution=resolution, fit=fit).pixels


def flat(mode: str, colour: object, size: tuple[int, int] = (32, 32)) -> Image.Image:
    return Image.new(mode, size, colour)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "AVIF", "BMP", "GIF", "TIFF"])
def test_every_format_is_decoded(kind):
    pixels = decode(encode(flat("RGB", (200, 30, 60)), kind))
    assert pixels.shape == (3, 32, 32) and pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - np.array([200, 30, 60])[:, None, None]).max() <= 6


@pytest.mark.parametrize(
    ("image", "kind", "expected"),
    [
        (flat("1", 1), "PNG", (255, 255, 255)),
        (flat("L", 77), "PNG", (77, 77, 77)),
        (flat("CMYK", (0, 255, 255, 0)), "JPEG", (255, 0, 0)),
        (flat("CMYK", (0, 255, 255, 0)), "TIFF", (255, 0, 0)),
        (flat("YCbCr", (128, 128, 128)), "JPEG", (128, 128, 128)),
        (Image.fromarray(np.full((32, 32), 0x80FF, np.uint16)), "PNG", (128, 128, 128)),
        (Image.fromarray(np.full((32, 32), 0x80FF, np.uint16)), "TIFF", (128, 128, 128)),
        (Image.fromarray(np.full((32, 32), 100, np.int32)), "TIFF", (100, 100, 100)),
        (Image.fromarray(np.full((32, 32), 0.2, np.float32)), "TIFF", (51, 51, 51)),
        (flat("RGB", (1, 2, 3)).quantize(4), "PNG", (1, 2, 3)),
    ],
    ids=lambda value: value.mode if isinstance(value, Image.Image) else None,
)
def test_opaque_modes(image, kind, expected):
    pixels = decode(encode(image, kind))
    assert pixels.shape == (3, 32, 32)
    assert np.abs(pixels.astype(int) - np.array(expected)[:, None, None]).max() <= 2


def test_16_bit_colour_keeps_the_high_byte():
    row = b"\0" + struct.pack(">HHH", 0xC812, 0x1EFF, 0x3C01) * 32

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 32, 32, 16, 2, 0, 0, 0))
    png = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(row * 32)) + chunk(b"IEND", b"")
    assert (decode(png) == np.array([0xC8, 0x1E, 0x3C])[:, None, None]).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_composited_over_white(mode):
    image = noise(32, 32, mode=mode)
    pixels = decode(encode(image))
    alpha = np.asarray(image)[..., -1]
    assert pixels.shape == (4, 32, 32)
    assert (pixels[3] == alpha).all()
    assert (pixels[:3, alpha == 0] == 255).all()
    colours = np.asarray(image.convert("RGBA"))[..., :3].transpose(2, 0, 1)
    assert (pixels[:3, alpha == 255] == colours[:, alpha == 255]).all()


def test_half_transparent_colour_is_half_white():
    pixels = decode(encode(flat("RGBA", (255, 0, 0, 128))))
    assert (pixels[:, 0, 0] == [255, 127, 127, 128]).all()


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_palette_with_a_transparent_colour(kind):
    image = flat("P", 1)
    image.putpalette([9, 9, 9, 250, 0, 0])
    image.paste(0, (0, 0, 16, 32))
    pixels = decode(encode(image, kind, transparency=0))
    assert pixels.shape[0] == 4
    assert (pixels[:, 5, 5] == [255, 255, 255, 0]).all() and (pixels[:, 5, 25] == [250, 0, 0, 255]).all()


def test_palette_with_alpha_per_colour():
    image = flat("P", 1)
    image.putpalette([9, 9, 9, 0, 0, 0])
    pixels = decode(encode(image, transparency=bytes([0, 51])))
    assert (pixels[:, 0, 0] == [204, 204, 204, 51]).all()


@pytest.mark.parametrize(("mode", "transparent"), [("RGB", (10, 20, 30)), ("L", 10), ("I;16", 2570)])
def test_a_transparent_colour_without_an_alpha_channel(mode, transparent):
    if mode == "I;16":
        values = np.full((32, 32), 40000, np.uint16)
        values[:, :16] = transparent
        image = Image.fromarray(values)
    else:
        image = flat(mode, 200 if mode == "L" else (200, 200, 200))
        image.paste(transparent, (0, 0, 16, 32))
    pixels = decode(encode(image, transparency=transparent))
    assert pixels.shape[0] == 4 and (pixels[3, :, :16] == 0).all() and (pixels[3, :, 16:] == 255).all()


def test_opaque_alpha_and_single_transparent_pixels_are_removed():
    image = flat("RGBA", (10, 20, 30, 255), (64, 64))
    assert decode(encode(image), 64).shape[0] == 3
    image.putpixel((3, 3), (0, 0, 0, 0))
    pixels = decode(encode(image), 64)
    assert pixels.shape[0] == 3 and (pixels[:, 3, 3] == 255).all()
    image.paste((0, 0, 0, 0), (0, 0, 8, 8))
    assert decode(encode(image), 64).shape[0] == 4


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(64, 40), (1024, 640)])
def test_exif_orientation(orientation, size):
    # The upright image has a red left third; it is stored so that the orientation tag restores it.
    width, height = size
    upright = flat("RGB", "white", size)
    upright.paste("red", (0, 0, width // 3, height // 2))
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(undo[orientation]) if orientation in undo else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(stored, "JPEG", exif=exif, quality=95)
    with quiet_pillow():
        image = decoding.decode(data, resolution=32, fit=Fit.CROP)
    assert (image.source_width, image.source_height) == size
    assert image.pixels.shape == (3, 32, 51)
    assert image.pixels[1, 8, 8] < 40 and image.pixels[1, 24, 8] > 215 and image.pixels[1, 8, 40] > 215


def test_invalid_exif_is_ignored():
    data = encode(flat("RGB", (9, 9, 9)), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01broken")
    assert decode(data).shape == (3, 32, 32)


@pytest.mark.parametrize(("kind", "options"), [("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {}), ("TIFF", {})])
def test_the_first_frame_of_an_animation_is_decoded(kind, options):
    frames = [flat("RGB", colour) for colour in ("red", "lime", "blue")]
    pixels = decode(encode(frames[0], kind, save_all=True, append_images=frames[1:], **options))
    assert (pixels == np.array([255, 0, 0])[:, None, None]).all()


def test_downscaling_leaves_no_fringe():
    # Transparent pixels are bright green, which must not bleed into the edge of the black disc.
    side = 256
    y, x = np.mgrid[:side, :side] - side / 2
    disc = (x**2 + y**2 < (side / 3) ** 2).astype(np.uint8) * 255
    values = np.zeros((side, side, 4), np.uint8)
    values[..., 1] = 255 - disc
    values[..., 3] = disc
    pixels = decode(encode(Image.fromarray(values))).astype(int)
    assert 0 < pixels[3].mean() < 255 and len(np.unique(pixels[3])) > 10
    # Black over white is exactly 255 - alpha, in every colour.
    assert (pixels[:3] == 255 - pixels[3]).all()


def test_downscaling_averages_areas():
    checks = np.indices((256, 256)).sum(axis=0) % 2 * 255
    pixels = decode(encode(Image.fromarray(checks.astype(np.uint8))))
    assert np.abs(pixels[:, 4:-4, 4:-4].astype(int) - 127).max() <= 2


def test_pixel_art_is_enlarged_by_integer_factors():
    small = noise(16, 16, seed=3)
    pixels = decode(encode(small), 64)
    assert (pixels[:, ::4, ::4] == np.asarray(small).transpose(2, 0, 1)).all()
    assert (pixels == pixels[:, ::4, ::4].repeat(4, axis=1).repeat(4, axis=2)).all()
    assert decode(encode(noise(24, 24)), 64).shape == (3, 64, 64)


def test_crop_limits_the_long_side_to_four_times_the_short_side():
    assert decode(encode(noise(100, 50)), 32, Fit.CROP).shape == (3, 32, 64)
    assert decode(encode(noise(50, 100)), 32, Fit.CROP).shape == (3, 64, 32)
    assert decode(encode(noise(2000, 7)), 32, Fit.CROP).shape == (3, 32, 128)
    assert decode(encode(noise(1, 900)), 32, Fit.CROP).shape == (3, 128, 32)


def test_crop_of_a_long_image_keeps_its_centre():
    image = flat("RGB", "white", (3200, 32))
    image.paste("black", (1600 - 64, 0, 1600 + 64, 32))
    assert (decode(encode(image), 32, Fit.CROP) == 0).all()


def test_pad_adds_transparent_white_around_images_with_alpha():
    image = flat("RGBA", (0, 0, 200, 255), (64, 32))
    image.paste((0, 0, 0, 0), (0, 0, 16, 32))
    pixels = decode(encode(image), 64)
    assert pixels.shape == (4, 64, 64)
    assert (pixels[:3, :16] == 255).all() and (pixels[3, :16] == 0).all() and (pixels[3, 48:] == 0).all()
    assert (pixels[:, 32, 40] == [0, 0, 200, 255]).all()


def test_pad_repeats_the_border_of_opaque_images():
    pixels = decode(encode(flat("RGB", (1, 2, 3), (64, 20))), 64, Fit.PAD)
    assert pixels.shape == (3, 64, 64) and (pixels == np.array([1, 2, 3])[:, None, None]).all()
    assert decode(encode(flat("RGB", 0, (900, 1))), 64, Fit.PAD).shape == (3, 64, 64)


def test_auto_pads_images_with_alpha_and_crops_others():
    assert decode(encode(noise(64, 40, mode="RGBA")), 32).shape == (4, 32, 32)
    assert decode(encode(noise(64, 40)), 32).shape == (3, 32, 51)


def test_decompression_bombs_are_refused_by_their_header(monkeypatch):
    data, larger = (encode(Image.new("1", (side, side))) for side in (9000, 20000))

    def load(self):
        raise AssertionError("decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    with pytest.raises(SkippedError, match="9000 x 9000 pixels are more than 64 million"):
        decode(data)
    # Above Pillow's own limits, its warning or error becomes a SkippedError too.
    with pytest.raises(SkippedError, match=r"more than 64 million|decompression bomb"):
        decode(larger)


def test_large_images_are_decoded_one_at_a_time(monkeypatch):
    monkeypatch.setattr(decoding, "LARGE_PIXELS", 10)
    assert decode(encode(flat("RGB", (5, 6, 7))))[2, 0, 0] == 7
    assert not decoding._large.locked()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "AVIF", "GIF", "BMP", "TIFF"])
def test_truncated_files_are_refused(kind):
    data = encode(noise(64, 64), kind)
    for length in (0, 1, 10, len(data) // 2):
        with pytest.raises(SkippedError) as caught:
            decode(data[:length])
        assert str(caught.value) and "0x" not in str(caught.value)


def test_other_formats_are_refused_by_their_content():
    for kind in ("PPM", "ICO", "EPS"):
        with pytest.raises(SkippedError, match="not a supported image format"):
            decode(encode(noise(), kind))
    with pytest.raises(SkippedError, match="empty"):
        decode(b"")


def test_warning_filters_are_restored():
    before = list(warnings.filters)
    with quiet_pillow(), quiet_pillow():
        warnings.warn("hidden", stacklevel=1)
    assert warnings.filters == before
    with pytest.raises(UserWarning):
        warnings.warn("seen", stacklevel=1)


def test_zoom_keeps_cropped_images_larger_without_enlarging_them() -> None:
    def decoded_shape(image: Image.Image, fit: Fit = Fit.CROP) -> tuple[int, ...]:
        with decoding.quiet_pillow():
            return decoding.decode(encode(image), resolution=32, fit=fit, zoom=2.0).pixels.shape

    assert decoded_shape(noise(300, 150)) == (3, 64, 128)
    assert decoded_shape(noise(48, 48)) == (3, 48, 48), "not enlarged beyond the file"
    assert decoded_shape(noise(20, 20)) == (3, 32, 32), "enlarged only to the resolution"
    assert decoded_shape(noise(300, 150), Fit.PAD) == (3, 32, 32)
