"""Features of a user-supplied network, such as Inception or DINOv2, from an ONNX file."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from impasto.errors import ImpastoError

BATCH = 32
DEFAULT_SIDE = 224
"""Height and width of the input, in pixels, if the network does not fix them."""


class OnnxFeatures:
    """An ONNX network from float32 RGB images in [0, 1], (batch, 3, side, side), to features, (batch, feature).

    The network must contain its own normalisation, so that scores depend on this file alone. Loading ONNX executes
    no code. Raises ImpastoError if the file cannot be read, if its shapes differ, and if onnxruntime is not installed.
    """

    def __init__(self, path: Path) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise ImpastoError('--features needs an extra: pip install -e ".[features]"') from error
        self.path = path
        if not path.is_file():
            raise ImpastoError(f"--features {path}: the file does not exist.")
        try:
            self._session: Any = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises many exception classes
            raise ImpastoError(f"--features {path}: not a readable ONNX network ({str(error)[:200]}).") from error
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        shape = inputs[0].shape
        if len(inputs) != 1 or len(shape) != 4 or shape[1] not in (3, None) or inputs[0].type != "tensor(float)":
            raise ImpastoError(
                f"--features {path}: its input is {inputs[0].type} {shape}, not one float (batch, 3, side, side)."
            )
        if len(outputs[0].shape) != 2:
            raise ImpastoError(f"--features {path}: its first output is {outputs[0].shape}, not (batch, feature).")
        self.side = shape[2] if isinstance(shape[2], int) else DEFAULT_SIDE
        self._input, self._output = inputs[0].name, outputs[0].name
        self._batch = shape[0] if isinstance(shape[0], int) else BATCH

    @property
    def name(self) -> str:
        """The suffix of scores on these features: the file name without its extension."""
        return self.path.stem

    def __call__(self, pixels: UInt8[Tensor, "image channel height width"]) -> Float[Tensor, "image feature"]:
        """Features of RGB over white, resized with antialiased bicubic interpolation."""
        parts: list[np.ndarray] = []
        size = (self.side, self.side)
        for start in range(0, len(pixels), self._batch):
            image = pixels[start : start + self._batch, :3].float() / 255
            image = F.interpolate(image, size, mode="bicubic", antialias=True).clamp(0, 1)
            missing = self._batch - len(image)  # networks with a fixed batch size need full batches
            padded = F.pad(image, (0, 0, 0, 0, 0, 0, 0, missing)) if missing else image
            (features,) = self._session.run([self._output], {self._input: padded.numpy()})
            parts.append(features[: len(image)])
        return torch.from_numpy(np.concatenate(parts)).float()
