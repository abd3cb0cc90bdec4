"""Begin with the weights of a trained model: much of what it sees and paints holds for other pictures too."""

import dataclasses
from pathlib import Path

import torch
from torch import Tensor

from impasto.config import ModelConfig
from impasto.errors import ImpastoError
from impasto.model.impasto import Impasto, load_model
from impasto.training.run import model_file

FREE = {"channels", "resolution", "collections", "text_dim", "signed_edges", "redraws_alone"}
"""What may be different: networks are convolutions and transformers, and leave these open."""
PRIOR = {"prior_width", "prior_depth"}
"""What may be different too: the prior then begins untrained."""


def read_start(start: Path, wanted: ModelConfig, prior_stays: bool) -> Impasto:
    """The model or run to begin with, all of its prior where that ``prior_stays``.

    Raises ImpastoError where there is none, and where its shape is another.
    """
    known, _ = load_model(model_file(start))
    free = FREE - {"text_dim"} if prior_stays else FREE | PRIOR
    flags = "the same --size, --prior-size and --text, as its prior stays" if prior_stays else "the same --size"
    for field in dataclasses.fields(ModelConfig):
        mine, its = getattr(wanted, field.name), getattr(known.config, field.name)
        if field.name not in free and mine != its:
            raise ImpastoError(
                f"--start-from {start}: its {field.name} is {its}, that of this training {mine}; use {flags}."
            )
    return known


@torch.no_grad()
def begin_with(model: Impasto, known: Impasto) -> float:
    """Give an untrained model the weights of a trained one where they fit; returns what part of them that is.

    Of weights for four channels those for the first three are taken; what is seen in addition counts for nothing yet.
    """
    before, taken, total = known.state_dict(), 0, 0
    same_prior = all(getattr(known.config, name) == getattr(model.config, name) for name in PRIOR)
    for name, weights in model.state_dict().items():
        fits = same_prior or not name.startswith("prior.")
        found = _fitted(before.get(name), weights) if fits else None
        if found is not None:
            weights.copy_(found)
            taken += weights.numel()
        total += weights.numel()
    return taken / total


def _fitted(weights: Tensor | None, like: Tensor) -> Tensor | None:
    """The first of ``weights`` along every dimension, in the shape of another tensor; None where there are too few.

    Only along the second, that of inputs, there may be: the others are zero.
    """
    if weights is None or weights.dim() != like.dim():
        return None
    if any(has < needs for dim, (has, needs) in enumerate(zip(weights.shape, like.shape, strict=True)) if dim != 1):
        return None
    common = tuple(slice(min(has, needs)) for has, needs in zip(weights.shape, like.shape, strict=True))
    found = torch.zeros_like(like)
    found[common] = weights[common]
    return found
