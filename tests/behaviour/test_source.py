"""Folders and archives: their files by kind, and the files that are refused."""

import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from images import encode, noise, write_noise
from impasto.data import read_images, source
from impasto.data.archive import Tar, Zip
from impasto.data.folder import Folder, SingleFile
from impasto.data.listing import Listing, collections_of, list_source, open_source
from impasto.data.source import Member, SkippedError
from impasto.errors import ImpastoError


def listed(path: Path, **options: Path) -> Listing:
    with open_source(path, **options) as opened:
        return list_source(opened)


def names(listing: Listing) -> list[str]:
    return [member.name for member in listing.images]


def make_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def make_tar(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def test_kinds_of_source(tmp_path):
    write_noise(tmp_path, "a.png")
    files = {"a.png": encode(noise())}
    assert type(open_source(tmp_path)) is Folder
    assert type(open_source(tmp_path / "a.png")) is SingleFile
    assert type(open_source(make_zip(tmp_path / "x.zip", files))) is Zip
    assert type(open_source(make_tar(tmp_path / "x.tar.gz", files))) is Tar
    # Archives are recognised by content, not by name; but an image with a zip appended is an image.
    assert type(open_source(make_tar(tmp_path / "strange", files))) is Tar
    (tmp_path / "both.png").write_bytes(files["a.png"] + (tmp_path / "x.zip").read_bytes())
    assert type(open_source(tmp_path / "both.png")) is SingleFile
    with pytest.raises(ImpastoError, match="nowhere does not exist"):
        open_source(tmp_path / "nowhere")


def test_files_are_sorted_into_kinds(tmp_path):
    write_noise(tmp_path, "b.png", "a/c.JPG", "a/deep/d.webp")
    for name in ("notes.txt", "LICENSE", ".DS_Store", "._b.png", "drawing.svg", "x.heic", ".thumbs/t.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "metadata.jsonl").write_text("")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nothing")
    listing = listed(tmp_path)
    assert names(listing) == ["a/c.JPG", "a/deep/d.webp", "b.png"]
    assert [member.name for member in listing.metadata] == ["metadata.jsonl"]
    assert listing.not_images == {".txt": 1, "LICENSE": 1, ".DS_Store": 1, ".png": 2}
    assert listing.skipped == {
        "drawing.svg": ".svg is not supported; convert it to PNG",
        "x.heic": ".heic is not supported; convert it to PNG",
        "gone.png": "a broken link or not a regular file",
    }


def test_links_in_folders_are_followed_once(tmp_path):
    write_noise(tmp_path, "real/a.png")
    (tmp_path / "real" / "loop").symlink_to(tmp_path)
    (tmp_path / "b.png").symlink_to(tmp_path / "real" / "a.png")
    assert sorted(names(listed(tmp_path))) == ["b.png", "real/a.png"]


def test_excluded_folder(tmp_path):
    write_noise(tmp_path, "a.png", "cache/b.png")
    assert names(listed(tmp_path, exclude=tmp_path / "cache")) == ["a.png"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipes_are_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    assert listed(tmp_path).skipped == {"pipe.png": "a broken link or not a regular file"}


def test_collections_are_top_level_folders(tmp_path):
    write_noise(tmp_path / "set", "x.png", "cats/a.png", "dogs/big/b.png")
    opened = open_source(tmp_path / "set")
    assert collections_of(opened, list_source(opened)) == {
        "x.png": "set",
        "cats/a.png": "cats",
        "dogs/big/b.png": "dogs",
    }


@pytest.mark.parametrize("name", ["mine.zip", "mine.tar.gz", "mine.tar"])
def test_an_outer_folder_in_an_archive_is_not_a_collection(tmp_path, name):
    make = make_zip if name.endswith("zip") else make_tar
    data = encode(noise())
    with open_source(make(tmp_path / name, {"pack/cats/a.png": data, "pack/dogs/b.png": data})) as opened:
        assert set(collections_of(opened, list_source(opened)).values()) == {"cats", "dogs"}
    with open_source(make(tmp_path / name, {"cats/a.png": data, "b.png": data})) as opened:
        assert collections_of(opened, list_source(opened)) == {"cats/a.png": "cats", "b.png": "mine"}


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_unsafe_names_are_refused_and_nothing_is_unpacked(tmp_path, make):
    data = encode(noise())
    inner = tmp_path / "inner"
    inner.mkdir()
    unsafe = {"../up.png": data, "/root.png": data, "a/../../up.png": data, "c:/win.png": data}
    path = make(inner / ("x.zip" if make is make_zip else "x.tar"), unsafe | {"fine.png": data})
    before = set(tmp_path.rglob("*"))
    loaded = read_images(path, resolution=32, channels=3)
    assert loaded.names == ("fine.png",)
    assert loaded.skipped == {
        "../up.png": "path with '..' in an archive",
        "/root.png": "absolute path in an archive",
        "a/../../up.png": "path with '..' in an archive",
        "c:/win.png": "absolute path in an archive",
    }
    assert set(tmp_path.rglob("*")) == before


def test_links_in_archives_are_refused(tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name, kind in (
            ("soft.png", tarfile.SYMTYPE),
            ("hard.png", tarfile.LNKTYPE),
            ("p.png", tarfile.FIFOTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    assert listed(tmp_path / "x.tar").skipped == {
        "soft.png": "a link in an archive",
        "hard.png": "a link in an archive",
        "p.png": "not a regular file",
    }
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        info = zipfile.ZipInfo("soft.png")
        info.create_system, info.external_attr = 3, 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    assert listed(tmp_path / "x.zip").skipped == {"soft.png": "a link in an archive"}


def test_second_copies_of_a_name_are_skipped(tmp_path):
    data = encode(noise())
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for _ in range(2):
            info = tarfile.TarInfo("a.png")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    listing = listed(tmp_path / "x.tar")
    assert names(listing) == ["a.png"] and list(listing.skipped) == ["a.png (second copy)"]


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz", "folder"])
def test_files_over_the_limit_are_skipped(tmp_path, name, monkeypatch):
    files = {"small.png": b"1" * 10, "large.png": b"2" * 1000}
    path = tmp_path / name
    if name == "folder":
        path.mkdir()
        for file, data in files.items():
            (path / file).write_bytes(data)
    else:
        (make_zip if name == "x.zip" else make_tar)(path, files)
    monkeypatch.setattr(source, "MAX_FILE_BYTES", 100)
    with open_source(path) as opened:
        by_name = {member.name: member for member in list_source(opened).images}
        assert opened.read(by_name["small.png"]) == files["small.png"]
        with pytest.raises(SkippedError, match="larger than"):
            opened.read(by_name["large.png"])
        # The limit also holds for members that state a wrong size.
        large = by_name["large.png"]
        with pytest.raises(SkippedError, match="larger than"):
            opened.read(Member(large.name, 5, large.handle))


@pytest.mark.parametrize("name", ["x.zip", "x.tar.gz"])
def test_archives_over_the_limit_are_refused(tmp_path, name, monkeypatch):
    make = make_zip if name == "x.zip" else make_tar
    path = make(tmp_path / name, {f"{index}.bin": b"0" * 2000 for index in range(5)})
    monkeypatch.setattr(source, "MAX_ARCHIVE_BYTES", 5000)
    with pytest.raises(ImpastoError, match=r"x\..* unpacks to more than .* unpack it yourself"):
        listed(path)


def test_damaged_archives_are_errors(tmp_path):
    files = {f"{index}.png": encode(noise(seed=index)) for index in range(20)}
    path = make_tar(tmp_path / "x.tar.gz", files)
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(ImpastoError, match=r"x\.tar\.gz is a damaged archive"):
        listed(path)


def test_a_damaged_member_is_skipped(tmp_path):
    path = make_zip(tmp_path / "x.zip", {"a.png": encode(noise(seed=1)), "b.png": encode(noise(seed=2))})
    data = bytearray(path.read_bytes())
    data[data.index(b"IDAT") + 20] ^= 255
    path.write_bytes(data)
    loaded = read_images(path, resolution=32, channels=3)
    assert loaded.names == ("b.png",)
    assert loaded.skipped["a.png"].startswith("damaged in the archive: Bad CRC-32")


def test_an_encrypted_member_is_skipped(tmp_path):
    path = make_zip(tmp_path / "x.zip", {"a.png": encode(noise(seed=1)), "b.png": encode(noise(seed=2))})
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    path.write_bytes(data)
    loaded = read_images(path, resolution=32, channels=3)
    assert loaded.names == ("b.png",) and "encrypted" in loaded.skipped["a.png"]
