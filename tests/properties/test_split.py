"""The held-out split."""

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from images import write_noise
from impasto.data import prepare
from impasto.data.split import split

CONTENTS = [f"content {index}" for index in range(4000)]


def test_five_percent_are_held_out():
    assert abs(split(CONTENTS, [None] * len(CONTENTS)).mean() - 0.05) < 0.015


def test_the_split_does_not_change_when_images_are_added():
    few, many = split(CONTENTS[:1000], [None] * 1000), split(CONTENTS, [None] * 4000)
    assert few.any() and (many[:1000] == few).all()
    order = np.random.default_rng(0).permutation(1000)
    assert (split([CONTENTS[index] for index in order], [None] * 1000) == few[order]).all()


def test_images_with_equal_keys_are_on_one_side():
    keys = [f"key {index % 500}" for index in range(2000)]
    held_out = split(CONTENTS[:2000], keys).reshape(4, 500)
    assert held_out.any() and (held_out == held_out[0]).all()


@given(st.lists(st.tuples(st.integers(0, 30), st.one_of(st.none(), st.integers(0, 10))), min_size=2, max_size=60))
def test_no_side_is_empty(images):
    held_out = split([f"c{content}" for content, _ in images], [key if key is None else f"k{key}" for _, key in images])
    assert 0 < held_out.sum() < len(images)


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 100)), min_size=2, max_size=60))
def test_sides_share_no_content_and_no_key(images):
    contents, keys = [f"c{content}" for content, _ in images], [f"k{key}" for _, key in images]
    # Two more images without common keys or content guarantee several groups.
    held_out = split([*contents, "x", "y"], [*keys, None, None])
    for names in (contents, keys):
        train = {name for name, out in zip(names, held_out, strict=False) if not out}
        assert not train & {name for name, out in zip(names, held_out, strict=False) if out}


def test_one_of_two_is_held_out():
    for index in range(50):
        assert split([f"a{index}", f"b{index}"], [None, None]).sum() == 1
    assert split(["same", "same"], [None, None]).sum() == 1
    assert split(["one", "other"], ["key", "key"]).sum() == 1


def test_the_split_does_not_depend_on_resolution_or_path(tmp_path):
    write_noise(tmp_path / "one", *(f"{index}.png" for index in range(40)))
    write_noise(tmp_path / "two", *(f"other/{index}.png" for index in range(40)))
    sets = [
        prepare(tmp_path / folder, resolution=resolution, cache=tmp_path / "cache")
        for folder, resolution in (("one", 32), ("two", 64))
    ]
    out = [{images.entries[index].content_hash for index in images.held_out} for images in sets]
    assert out[0] == out[1] and out[0]


def test_keys_in_metadata_group_images_of_all_collections(tmp_path):
    names = [f"{collection}/{index}.png" for collection in ("a", "b", "c") for index in range(30)]
    write_noise(tmp_path, *names)
    lines = [json.dumps({"file_name": name, "key": name.partition("/")[2]}) for name in names]
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines))
    images = prepare(tmp_path, resolution=32, cache=tmp_path / "cache")
    assert len(set(images.key_ids.tolist())) == 30 and (images.key_ids >= 0).all()
    assert not set(images.key_ids[images.held_out]) & set(images.key_ids[images.train])
    assert len(images.held_out) % 3 == 0
