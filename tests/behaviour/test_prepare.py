"""Preparing a folder for training: cache, batches, audit and errors."""

import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from images import encode, noise, write_noise
from impasto.config import Fit
from impasto.data import Audit, ImageSet, prepare
from impasto.data import decode as decoding
from impasto.errors import ImpastoError


@pytest.fixture
def folder(tmp_path) -> Path:
    write_noise(tmp_path / "set", "cats/a.png", "cats/b.jpg", "dogs/c.webp", "e.png")
    noise(100, 50, seed=20).save(tmp_path / "set" / "dogs" / "wide.png")
    noise(40, 80, mode="RGBA", seed=21).save(tmp_path / "set" / "dogs" / "alpha.png")
    return tmp_path / "set"


def prepared(folder: Path, **options) -> ImageSet:
    return prepare(folder, **{"resolution": 32, "cache": folder.parent / "cache"} | options)


def no_decoding(monkeypatch) -> None:
    def decode(*arguments, **options):
        raise AssertionError("decoded again")

    monkeypatch.setattr(sys.modules["impasto.data.prepare"], "decode", decode)


def test_the_set_describes_every_image(folder):
    images = prepared(folder)
    names = ["cats/a.png", "cats/b.jpg", "dogs/alpha.png", "dogs/c.webp", "dogs/wide.png", "e.png"]
    assert [entry.name for entry in images.entries] == names and len(images) == 6
    assert images.collections == ("cats", "dogs", "set")
    assert images.collection_ids.tolist() == [0, 0, 1, 1, 1, 2] and images.collection_ids.dtype == np.int64
    assert images.key_ids.tolist() == [-1] * 6
    assert (images.channels, images.resolution) == (4, 32)
    assert sorted([*images.train, *images.held_out]) == list(range(6)) and len(images.held_out) >= 1
    assert images.train.dtype == images.held_out.dtype == np.int64
    assert [(entry.height, entry.width) for entry in images.entries][4] == (32, 64)


def test_batches_have_one_shape_and_centre_crops(folder):
    images = prepared(folder)
    batch = images.batch(np.arange(6))
    assert batch.shape == (6, 4, 32, 32) and batch.dtype == np.uint8
    assert (batch[[0, 1, 3, 4, 5], 3] == 255).all() and 0 < (batch[2, 3] == 0).mean() < 1
    # wide.png is 32 x 64 pixels; without a generator, the crop is centred.
    with decoding.quiet_pillow():
        whole = decoding.decode((folder / "dogs/wide.png").read_bytes(), resolution=32, fit=Fit.AUTO).pixels
    assert (batch[4, :3] == whole[:, :, 16:48]).all()
    assert images.batch([]).shape == (0, 4, 32, 32)
    assert (images.batch([5, 5, 0]) == batch[[5, 5, 0]]).all()


def test_random_crops_cover_all_positions_and_repeat_with_the_seed(folder):
    images = prepared(folder)
    with decoding.quiet_pillow():
        whole = decoding.decode((folder / "dogs/wide.png").read_bytes(), resolution=32, fit=Fit.AUTO).pixels
    crops = images.batch([4] * 600, np.random.default_rng(1))[:, :3]
    positions = [next(x for x in range(33) if (whole[:, :, x : x + 32] == crop).all()) for crop in crops]
    assert set(positions) == set(range(33))
    again = images.batch([4] * 600, np.random.default_rng(1))[:, :3]
    assert (again == crops).all()
    # A crop depends on the row in the batch, not on the other images.
    one = images.batch([0, 4, 5], np.random.default_rng(1))
    other = images.batch([5, 4, 0], np.random.default_rng(1))
    assert (one[1] == other[1]).all()


def test_the_second_call_uses_the_cache(folder, monkeypatch):
    first = prepared(folder)
    no_decoding(monkeypatch)
    second = prepared(folder)
    assert second.entries == first.entries and second.audit == first.audit
    assert (second.batch(range(6)) == first.batch(range(6))).all()
    assert (second.train == first.train).all() and (second.held_out == first.held_out).all()


def test_any_change_invalidates_the_cache(folder, monkeypatch):
    prepared(folder)
    no_decoding(monkeypatch)
    for options in ({"resolution": 64}, {"fit": Fit.PAD}):
        with pytest.raises(AssertionError, match="decoded again"):
            prepared(folder, **options)
    (folder / "cats/a.png").write_bytes(encode(noise(seed=99)))
    with pytest.raises(AssertionError, match="decoded again"):
        prepared(folder)


def test_added_and_removed_images_are_detected(folder):
    before = prepared(folder)
    write_noise(folder, "new.png", first_seed=50)
    (folder / "e.png").unlink()
    after = prepared(folder)
    assert {entry.name for entry in before.entries} ^ {entry.name for entry in after.entries} == {
        "new.png",
        "e.png",
    }


def test_a_cache_inside_the_folder_stays_valid(folder, monkeypatch):
    prepared(folder, cache=folder / "cache")
    no_decoding(monkeypatch)
    assert len(prepared(folder, cache=folder / "cache")) == 6


@pytest.mark.parametrize("damage", ["no index", "half an index", "no pixels", "half the pixels", "older index"])
def test_an_incomplete_cache_is_not_used(folder, damage):
    first = prepared(folder)
    batch = first.batch(range(6))
    (index,), (pixels,) = (list((folder.parent / "cache").glob(f"*.{kind}")) for kind in ("json", "pixels"))
    match damage:
        case "no index":
            index.unlink()
        case "half an index":
            index.write_text(index.read_text()[:100])
        case "no pixels":
            pixels.unlink()
        case "half the pixels":
            pixels.write_bytes(pixels.read_bytes()[:-100])
        case "older index":
            values = json.loads(index.read_text())
            del values["places"]
            index.write_text(json.dumps(values))
    again = prepared(folder)
    assert again.entries == first.entries and (again.batch(range(6)) == batch).all()


def test_a_run_killed_while_decoding_leaves_no_cache(folder):
    def kill(done: int, total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepared(folder, progress=kill)
    assert list((folder.parent / "cache").iterdir()) == []
    assert len(prepared(folder)) == 6


def test_progress_counts_every_file(folder):
    (folder / "broken.png").write_bytes(b"no image")
    calls = []
    prepared(folder, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(done, 7) for done in range(1, 8)]


def test_archives_give_the_same_set_as_the_folder(folder):
    with zipfile.ZipFile(folder.parent / "set.zip", "w") as archive:
        for path in sorted(folder.rglob("*.*"), reverse=True):
            archive.write(path, path.relative_to(folder))
    one, other = prepared(folder), prepared(folder.parent / "set.zip")
    assert other.entries == one.entries
    assert (other.batch(range(6)) == one.batch(range(6))).all()
    assert (other.held_out == one.held_out).all()


def test_the_audit_lists_all_files(folder):
    (folder / "broken.png").write_bytes(encode(noise())[:200])
    (folder / "notes.txt").write_text("x")
    (folder / "bad\nname.png").write_bytes(b"x")
    (folder / "cats" / "copy.png").write_bytes((folder / "e.png").read_bytes())
    audit = prepared(folder).audit
    assert (audit.images, audit.channels, audit.with_alpha) == (7, 4, 1)
    assert audit.collections == {"cats": 3, "dogs": 3, "set": 1}
    assert (audit.smallest, audit.median, audit.largest) == ((40, 40), (40, 40), (100, 50))
    assert (audit.padded, audit.cropped, audit.enlarged) == (1, 1, 0)
    assert audit.train + audit.held_out == 7
    assert set(audit.skipped) == {"broken.png", "bad\nname.png"} and audit.not_images == {".txt": 1}
    assert audit.duplicate_groups == (("cats/copy.png", "e.png"),)
    assert Audit.from_json(audit.to_json()) == audit
    text = audit.text()
    for line in (
        "7 images in 3 collections: cats 3, dogs 3, set 1",
        "4 channels: 1 of 7 have transparency",
        "near-duplicates: 2 images in 1 group",
        "  cats/copy.png = e.png",
        "skipped: 2 files",
        "not images: 1 file: .txt 1",
    ):
        assert line in text.split("\n")
    assert "bad\N{REPLACEMENT CHARACTER}name.png" in text


def test_opaque_images_have_three_channels(tmp_path):
    write_noise(tmp_path, "a.png", "b.png")
    images = prepared(tmp_path, cache=tmp_path / "cache")
    assert images.channels == 3 and images.batch([0, 1]).shape == (2, 3, 32, 32)
    assert "3 channels: all opaque" in images.audit.text()


def test_errors_name_the_path_and_the_remedy(tmp_path):
    def message(path: Path) -> str:
        with pytest.raises(ImpastoError) as caught:
            prepare(path, resolution=32, cache=tmp_path / "cache")
        assert str(path) in str(caught.value)
        return str(caught.value)

    assert "does not exist" in message(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "no readable image" in message(tmp_path / "empty")
    write_noise(tmp_path / "one", "only.png")
    assert "needs at least 2" in message(tmp_path / "one")
    assert "Put the images into a folder" in message(tmp_path / "one" / "only.png")
    (tmp_path / "x.txt").write_text("x")
    assert "neither a folder nor a .zip" in message(tmp_path / "x.txt")
    (tmp_path / "bad").mkdir()
    for index in range(20):
        (tmp_path / "bad" / f"{index:02}.png").write_bytes(b"x")
    bad = message(tmp_path / "bad")
    assert "00.png: damaged" in bad and "12 more" in bad
    assert not list((tmp_path / "cache").glob("*"))


def test_a_cache_that_cannot_be_written_is_an_error(folder):
    (folder.parent / "file").write_text("in the way")
    with pytest.raises(ImpastoError, match="cannot write"):
        prepared(folder, cache=folder.parent / "file" / "cache")


def test_names_that_are_not_valid_unicode(folder):
    try:
        (folder / "bad\udcff.png").write_bytes(encode(noise(seed=70)))
    except OSError:
        pytest.skip("the file system refuses such names")
    assert "bad\udcff.png" in [entry.name for entry in prepared(folder).entries]
    assert len(prepared(folder)) == 7
    prepared(folder).audit.text().encode()


def test_opaque_images_have_three_channels_in_the_cache(folder):
    images = prepared(folder)
    num_bytes = sum(
        entry.height * entry.width * channels
        for entry, (_, channels) in zip(images.entries, images.places, strict=True)
    )
    (pixels,) = (folder.parent / "cache").glob("*.pixels")
    assert pixels.stat().st_size == num_bytes
    assert images.places[:, 1].tolist() == [3, 3, 4, 3, 3, 3]
