"""Features of a user-supplied network: a small ONNX file, and invalid files."""

from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper

from impasto.errors import ImpastoError
from impasto.evaluate.onnx_features import OnnxFeatures


def write_network(path: Path, *, batch: int | str = "batch", channels: int = 3, flat: bool = True) -> Path:
    """Write a network whose features are the channel means; ``flat`` or as maps."""
    nodes = [helper.make_node("GlobalAveragePool", ["image"], ["pooled"])]
    shape: list[int | str] = [batch, channels, 1, 1]
    if flat:
        nodes.append(helper.make_node("Flatten", ["pooled"], ["features"]))
        shape = [batch, channels]
    graph = helper.make_graph(
        nodes,
        "mean",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, channels, 16, 16])],
        [helper.make_tensor_value_info("features" if flat else "pooled", TensorProto.FLOAT, shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))
    return path


@pytest.mark.parametrize("batch", ["batch", 4])
def test_features_are_the_output_of_the_network(tmp_path: Path, batch: int | str) -> None:
    network = OnnxFeatures(write_network(tmp_path / "mean.onnx", batch=batch))
    pixels = torch.randint(0, 256, (6, 4, 32, 32), dtype=torch.uint8)
    features = network(pixels)
    assert network.name == "mean" and network.side == 16 and features.shape == (6, 3)
    torch.testing.assert_close(features, pixels[:, :3].float().mean((2, 3)) / 255, atol=0.02, rtol=0.05)


def test_invalid_networks_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ImpastoError, match="does not exist"):
        OnnxFeatures(tmp_path / "missing.onnx")
    (tmp_path / "noise.onnx").write_bytes(b"not a network")
    with pytest.raises(ImpastoError, match=r"noise\.onnx: not a readable ONNX network"):
        OnnxFeatures(tmp_path / "noise.onnx")
    with pytest.raises(ImpastoError, match=r"not one float \(batch, 3, side, side\)"):
        OnnxFeatures(write_network(tmp_path / "five.onnx", channels=5))
    with pytest.raises(ImpastoError, match=r"not \(batch, feature\)"):
        OnnxFeatures(write_network(tmp_path / "map.onnx", flat=False))
