"""The captions of pictures as vectors, for training."""

import numpy as np
import torch

from impasto.data import PictureSet
from impasto.text import TEXT_DIM, TextEncoder, TextVectors


def captions_of(pictures: PictureSet, indices: np.ndarray) -> TextVectors:
    """The vectors of some pictures' texts, zero where there is none."""
    texts = [pictures.entries[index].text or "" for index in indices.tolist()]
    different = sorted({text for text in texts if text})
    vectors = dict(zip(different, TextEncoder()(different), strict=True))
    return torch.stack([vectors.get(text, torch.zeros(TEXT_DIM)) for text in texts])
