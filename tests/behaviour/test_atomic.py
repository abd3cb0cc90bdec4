"""Files are written whole, and equal contents give equal files."""

import itertools
from pathlib import Path

import torch
from safetensors import safe_open

from impasto.atomic import write_tensors


def test_equal_tensors_give_equal_bytes(tmp_path: Path) -> None:
    tensors = {name: torch.randn(3, 5) for name in ("b", "a", "c")}
    header = {"format": "2", "config": "{}", "ümlaut": "ö"}
    files = []
    for number, order in enumerate(itertools.permutations(tensors)):
        path = tmp_path / f"{number}.safetensors"
        texts = {name: header[name] for name in list(header)[:: -1 if number % 2 else 1]}
        write_tensors(path, {name: tensors[name] for name in order}, texts)
        files.append(path.read_bytes())
    assert len(set(files)) == 1
    with safe_open(path, framework="pt") as file:
        assert file.metadata() == header and set(file.keys()) == set(tensors)
        assert all(torch.equal(file.get_tensor(name), tensor) for name, tensor in tensors.items())
