"""Small pictures for tests."""

import io
from pathlib import Path

import numpy as np
from PIL import Image


def noise(width: int = 40, height: int = 40, *, mode: str = "RGB", seed: int = 0) -> Image.Image:
    """A picture of soft colour blobs, unlike that of any other seed, in any mode that Pillow converts to."""
    rng = np.random.default_rng(seed)
    blobs = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    picture = blobs.resize((width, height), Image.Resampling.BICUBIC)
    if mode in ("RGBA", "LA"):
        alpha = np.zeros((height, width), np.uint8)
        alpha[height // 4 : height - height // 4, width // 4 : width - width // 4] = 255
        picture = picture.convert(mode)
        picture.putalpha(Image.fromarray(alpha))
        return picture
    if mode == "I;16":
        return Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
    return picture.convert(mode)


def encode(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    """The bytes of a file."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def write_noise(folder: Path, *names: str, mode: str = "RGB", first_seed: int = 0) -> None:
    """Write one different PNG (or what the suffix says) for each name, making its folders."""
    for seed, name in enumerate(names, start=first_seed):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        noise(mode=mode, seed=seed).save(path)
