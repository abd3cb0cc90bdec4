"""Images for inference: files, folders and their errors."""

import numpy as np
import pytest
from PIL import Image

from images import noise, write_noise
from impasto.config import Fit
from impasto.data import read_images
from impasto.errors import ImpastoError


def test_a_folder(tmp_path):
    write_noise(tmp_path, "b.png", "a/c.png")
    (tmp_path / "broken.png").write_bytes(b"x")
    loaded = read_images(tmp_path, resolution=32, channels=3)
    assert loaded.names == ("a/c.png", "b.png")
    assert loaded.pixels.shape == (2, 3, 32, 32) and loaded.pixels.dtype == np.uint8
    assert list(loaded.skipped) == ["broken.png"]


def test_files_and_folders_keep_their_order(tmp_path):
    write_noise(tmp_path, "x.png", "y.png", "one/a.png", "two/a.png")
    paths = [tmp_path / name for name in ("y.png", "two", "x.png", "one")]
    assert read_images(paths, resolution=32, channels=3).names == (
        "y.png",
        "two/a.png",
        "x.png",
        "one/a.png",
    )


def test_alpha_is_removed_or_added(tmp_path):
    noise(mode="RGBA").save(tmp_path / "clear.png")
    Image.new("RGB", (40, 40), "red").save(tmp_path / "red.png")
    three, four = (read_images(tmp_path, resolution=32, channels=channels).pixels for channels in (3, 4))
    assert three.shape[1] == 3 and four.shape[1] == 4
    assert (three == four[:, :3]).all()
    assert (three[0][:, four[0, 3] == 0] == 255).all() and (four[0, 3] == 0).any()
    assert (four[1, 3] == 255).all() and (four[1, :3, 0, 0] == [255, 0, 0]).all()


def test_crops_are_centred(tmp_path):
    image = Image.new("RGB", (96, 32), "white")
    image.paste("black", (32, 0, 64, 32))
    image.save(tmp_path / "a.png")
    assert (read_images(tmp_path / "a.png", resolution=32, channels=3).pixels == 0).all()
    padded = read_images(tmp_path / "a.png", resolution=32, channels=3, fit=Fit.PAD)
    assert padded.pixels.shape == (1, 3, 32, 32) and (padded.pixels == 255).any()


def test_the_suffix_of_a_single_file_does_not_matter(tmp_path):
    noise().save(tmp_path / "image", "PNG")
    assert read_images([tmp_path / "image"], resolution=32, channels=3).names == ("image",)


def test_errors_name_the_file(tmp_path):
    write_noise(tmp_path, "fine.png")
    (tmp_path / "broken.png").write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImpastoError, match=r"broken\.png: damaged"):
        read_images([tmp_path / "fine.png", tmp_path / "broken.png"], resolution=32, channels=3)
    with pytest.raises(ImpastoError, match=r"nothing\.png does not exist"):
        read_images(tmp_path / "nothing.png", resolution=32, channels=3)
    with pytest.raises(ImpastoError, match=r"no readable image in .*empty"):
        read_images(tmp_path / "empty", resolution=32, channels=3)
    with pytest.raises(ImpastoError, match="an empty list"):
        read_images([], resolution=32, channels=3)
