"""Small images for tests."""

import io
from pathlib import Path

import numpy as np
from PIL import Image


def noise(width: int = 40, height: int = 40, *, mode: str = "RGB", seed: int = 0) -> Image.Image:
    """An image of soft colour blobs, unlike that of any other seed, in any mode that Pillow converts to."""
    rng = np.random.default_rng(seed)
    blobs = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    image = blobs.resize((width, height), Image.Resampling.BICUBIC)
    if mode in ("RGBA", "LA"):
        alpha = np.zeros((height, width), np.uint8)
        alpha[height // 4 : height - height // 4, width // 4 : width - width // 4] = 255
        image = image.convert(mode)
        image.putalpha(Image.fromarray(alpha))
        return image
    if mode == "I;16":
        return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    return image.convert(mode)


def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    """The bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def write_noise(folder: Path, *names: str, mode: str = "RGB", first_seed: int = 0) -> None:
    """Write one different PNG (or what the suffix says) for each name, making its folders."""
    for seed, name in enumerate(names, start=first_seed):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        noise(mode=mode, seed=seed).save(path)


def composite(image: Image.Image) -> np.ndarray:
    """What a decoder would have given: (4, h, w) in [0, 1], RGB over white and alpha."""
    values = np.asarray(image, np.float32) / 255
    alpha = values[..., 3:]
    return np.concatenate([values[..., :3] * alpha + 1 - alpha, alpha], axis=2).transpose(2, 0, 1)


def colours_of(image: Image.Image, least_alpha: int = 0) -> set[tuple[int, ...]]:
    """The distinct colours of the pixels of at least this alpha."""
    pixels = np.asarray(image.convert("RGBA")).reshape(-1, 4)
    return {tuple(map(int, c)) for c in np.unique(pixels[pixels[:, 3] >= least_alpha, :3], axis=0)}
