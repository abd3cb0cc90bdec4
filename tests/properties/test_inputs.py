"""Properties over generated inputs: image sizes, modes, palettes, folders and damaged files."""

import itertools
import tempfile
from pathlib import Path

import numpy as np
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from images import colours_of, composite, encode, noise, write_noise
from impasto.config import Fit, Size, sized_model
from impasto.create.image import to_image
from impasto.create.palette import Palette, lock
from impasto.data import prepare
from impasto.model.autoencoder import Autoencoder
from impasto.model.encoder import LOG_VARIANCE_BOUND


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 3), st.integers(1, 3), st.sampled_from([3, 4]), st.booleans())
def test_reconstructions_have_any_size_in_multiples_of_32(rows: int, columns: int, channels: int, signed: bool) -> None:
    config = sized_model(Size.TINY, channels=channels, resolution=32, collections=(), signed_edges=signed)
    model = Autoencoder(config)
    image = torch.rand(1, channels, 32 * rows, 32 * columns)
    with torch.no_grad():
        assert model.reconstruct(image).shape == image.shape
        for level, gaussian in enumerate(model.posterior(image).maps):
            assert gaussian.mean.shape[2:] == (rows * 2**level, columns * 2**level)
            assert gaussian.log_variance.abs().max() <= LOG_VARIANCE_BOUND


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["uint8", "float"]), st.sampled_from([1.0, 0.1, 0.02]))
def test_uncompositing_inverts_compositing(seed: int, kind: str, opacity: float) -> None:
    values = np.random.default_rng(seed).random((9, 13, 4)).astype(np.float32)
    values[..., 3] *= opacity
    composited = composite(Image.fromarray(np.rint(values * 255).astype(np.uint8)))
    if kind == "uint8":
        composited = np.rint(composited * 255).astype(np.uint8)
    image = to_image(composited)
    expected = composited / 255 if kind == "uint8" else composited
    assert image.mode == "RGBA" and image.size == (13, 9)
    assert np.abs(composite(image) - expected).max() <= 1.01 / 255


@given(count=st.integers(2, 256), seed=st.integers(0, 9), mode=st.sampled_from(["RGB", "RGBA"]))
def test_a_locked_palette_has_at_most_its_number_of_colours(count: int, seed: int, mode: str) -> None:
    image = noise(48, 40, mode=mode, seed=seed)
    locked = lock(image, Palette(count))
    assert locked.mode == mode and locked.size == image.size
    assert len(colours_of(locked)) <= count
    assert len(colours_of(locked, least_alpha=1)) >= min(count, len(colours_of(image, least_alpha=1))) * 0.75
    if mode == "RGBA":
        assert np.array_equal(np.asarray(locked)[..., 3], np.asarray(image)[..., 3])


MODES = {
    "PNG": ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"],
    "JPEG": ["L", "RGB", "CMYK"],
    "GIF": ["L", "P"],
    "WEBP": ["RGB", "RGBA"],
    "BMP": ["1", "L", "P", "RGB"],
    "TIFF": ["1", "L", "LA", "RGB", "CMYK", "I;16"],
}
KINDS = [(kind, mode) for kind, modes in MODES.items() for mode in modes]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(
            st.sampled_from(KINDS),
            st.integers(1, 150),
            st.integers(1, 150),
            st.sampled_from(["", "a/", "b/c/"]),
        ),
        min_size=2,
        max_size=6,
    ),
    st.sampled_from(Fit),
    st.sampled_from([32, 64]),
)
def test_any_folder_prepares(files, fit, resolution):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "set"
        for seed, ((kind, mode), width, height, inner) in enumerate(files):
            path = folder / f"{inner}{seed}.{kind.lower()}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode(noise(width, height, mode=mode, seed=seed), kind))
        images = prepare(folder, resolution=resolution, fit=fit, cache=Path(name) / "cache")
        assert len(images) == len(files) and not images.audit.skipped
        for rng in (None, np.random.default_rng(0)):
            batch = images.batch(range(len(files)), rng)
            assert batch.shape == (len(files), images.channels, resolution, resolution)
            assert batch.dtype == np.uint8
        for entry in images.entries:
            assert min(entry.height, entry.width) == resolution
            assert max(entry.height, entry.width) <= (resolution if fit is Fit.PAD else 4 * resolution)
        # noise() makes the border of images with alpha transparent; images below 4 pixels have no border.
        transparent = [mode in ("LA", "RGBA") and max(size) >= 4 for (_, mode), *size, _ in files]
        assert images.channels == (4 if any(transparent) else 3)
        del images


def test_damaged_files_are_skipped(tmp_path):
    rng = np.random.default_rng(0)
    write_noise(tmp_path / "set", "fine1.png", "fine2.png")
    kinds = itertools.cycle(["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
    for index, kind in zip(range(70), kinds, strict=False):
        data = np.frombuffer(encode(noise(seed=index), kind), np.uint8).copy()
        positions = rng.integers(0, len(data), 12)
        data[positions] = rng.integers(0, 256, 12)
        (tmp_path / "set" / f"{index}.{kind.lower()}").write_bytes(data)
    audit = prepare(tmp_path / "set", resolution=32, cache=tmp_path / "cache").audit
    assert audit.images + len(audit.skipped) == 72 and audit.skipped
    assert all(audit.skipped.values())
