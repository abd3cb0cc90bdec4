"""Text, keys and collections from metadata.jsonl."""

import json
import unicodedata
from pathlib import Path

import pytest

from images import write_noise
from impasto.data import prepare
from impasto.data.listing import list_source, open_source
from impasto.data.metadata import Description, read_metadata
from impasto.errors import ImpastoError


def write_lines(path: Path, *lines: dict[str, object] | str) -> None:
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))


def read(folder: Path) -> tuple[dict[str, Description], dict[str, str]]:
    with open_source(folder) as source:
        return read_metadata(source, list_source(source))


def test_text_key_and_collection_are_read(tmp_path):
    write_noise(tmp_path, "a.png", "b.png", "cats/c.png", "cats/d.png")
    write_lines(
        tmp_path / "metadata.jsonl",
        {
            "file_name": "a.png",
            "text": "a line\u2028of text",
            "key": 7,
            "collection": "art",
            "group": ["other"],
        },
        "",
        {"file_name": "./cats/c.png", "text": None, "key": ""},
    )
    entries = {entry.name: entry for entry in prepare(tmp_path, resolution=32, cache=tmp_path / "k").entries}
    assert (entries["a.png"].text, entries["a.png"].key) == ("a line\u2028of text", "7")
    assert [entries[name].collection for name in sorted(entries)] == ["art", tmp_path.name, "cats", "cats"]
    assert (entries["cats/c.png"].text, entries["cats/c.png"].key) == (None, None)
    assert entries["b.png"].text is None


def test_the_nearest_file_takes_precedence_and_names_are_relative_to_it(tmp_path):
    write_noise(tmp_path, "cats/a.png", "cats/b.png")
    write_lines(
        tmp_path / "metadata.jsonl",
        {"file_name": "cats/a.png", "text": "far"},
        {"file_name": "cats/b.png", "text": "far"},
    )
    write_lines(tmp_path / "cats" / "metadata.jsonl", {"file_name": "a.png", "text": "near"})
    descriptions, missing = read(tmp_path)
    assert {name: description.text for name, description in descriptions.items()} == {
        "cats/a.png": "near",
        "cats/b.png": "far",
    }
    assert not missing


def test_missing_files_are_skipped_with_a_reason(tmp_path):
    write_noise(tmp_path, "a.png", "b.png")
    write_lines(
        tmp_path / "metadata.jsonl",
        *({"file_name": name} for name in ("a.png", "gone.png", "../up.png")),
    )
    audit = prepare(tmp_path, resolution=32, cache=tmp_path / "k").audit
    assert audit.skipped == {
        "../up.png": "listed in metadata.jsonl but missing",
        "gone.png": "listed in metadata.jsonl but missing",
    }
    assert "skipped: 2 files" in audit.text() and "gone.png: listed" in audit.text()


def test_composed_and_combining_accents_match(tmp_path):
    composed = "caf\u00e9.png"
    write_noise(tmp_path, unicodedata.normalize("NFD", composed))
    write_lines(tmp_path / "metadata.jsonl", {"file_name": composed, "text": "coffee"})
    descriptions, missing = read(tmp_path)
    assert [description.text for description in descriptions.values()] == ["coffee"] and not missing


def test_a_byte_order_mark_is_ignored(tmp_path):
    write_noise(tmp_path, "a.png")
    (tmp_path / "metadata.jsonl").write_text('\ufeff{"file_name": "a.png", "text": "x"}\r\n', encoding="utf-8")
    assert read(tmp_path)[0] == {"a.png": Description(text="x")}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"file_name": "a.png", ', "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('["a.png"]', "expected an object"),
        ('{"text": "x"}', 'no "file_name"'),
        ('{"file_name": 3}', 'no "file_name"'),
        ('{"file_name": "a.png", "text": ["x"]}', '"text" is'),
        ('{"file_name": "a.png", "key": true}', '"key" is True'),
        ('{"file_name": "first.png"}', "first.png is listed twice"),
    ],
)
def test_invalid_lines_are_errors_with_file_and_line(tmp_path, line, message):
    write_noise(tmp_path, "sub/a.png", "sub/b.png")
    write_lines(tmp_path / "sub" / "metadata.jsonl", {"file_name": "first.png"}, "", line)
    with pytest.raises(ImpastoError, match=r"sub/metadata\.jsonl, line 3: ") as caught:
        prepare(tmp_path, resolution=32, cache=tmp_path / "k")
    assert message in str(caught.value)


def test_metadata_that_is_not_text_is_an_error(tmp_path):
    write_noise(tmp_path, "a.png", "b.png")
    (tmp_path / "metadata.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ImpastoError, match=r"cannot read metadata\.jsonl"):
        prepare(tmp_path, resolution=32, cache=tmp_path / "k")
