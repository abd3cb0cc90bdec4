"""A new style from few pictures: part of a trained model goes on learning, beside samples of the styles that it has."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from impasto.config import Sampling, TrainConfig
from impasto.create.generate import generate_each
from impasto.data import Entry, PictureSet
from impasto.data.variants import varied
from impasto.errors import ImpastoError
from impasto.model.autoencoder import means
from impasto.model.impasto import Impasto, load_model
from impasto.model.prior import PriorFlow
from impasto.text import TextVectors
from impasto.training.autoencoder_stage import to_device
from impasto.training.captions import captions_of
from impasto.training.run import model_file
from impasto.training.seeds import seed_of

FEWEST_PICTURES = 4
SLOWER = 0.3
"""Learning rate of the decoder against that of a model that begins with nothing."""
CONDITIONING = ("condition", "modulation", "offset")
"""In the names of the prior's weights that learn."""
HELD_OUT_EACH = 6
"""One of so many pictures says when it is enough."""
LEARNED_FROM = 512
"""The pictures to train on and variants of them, together."""
MOST_VARIANTS = 31
"""Of each picture."""
TWINS = 0.5
"""Weight of plain twins where the decoder redraws alone and nothing else is said."""
REPLAYED = 160
"""Samples of the old styles together, and two of each at least."""
REPLAY = Sampling(internal_guidance=1.5)
"""How they are drawn: with little internal guidance, as what is learned from them is drawn with more again."""
AT_A_TIME = 32


@dataclass(frozen=True)
class Base:
    """The model to begin with."""

    network: Impasto
    styles: Tensor
    """Of its collections, mean and log-variance: (collection, 2, style_dim)."""

    @property
    def collections(self) -> tuple[str, ...]:
        """The styles that it has."""
        return self.network.config.collections

    def styles_beside(self, new: Sequence[str]) -> dict[str, Tensor]:
        """The styles, (2, style_dim), of the collections that are not among the ``new`` ones."""
        return {name: style for name, style in zip(self.collections, self.styles, strict=True) if name not in new}


def read_base(model: Path, device: torch.device) -> Base:
    """A run or model file to begin with. Raises ImpastoError where it is none, and where it has no styles."""
    network, styles = load_model(model_file(model))
    if styles is None:
        raise ImpastoError(f"--init {model}: it has no collections to keep; use a model that impasto train made.")
    return Base(network.to(device), styles)


def adapting(config: TrainConfig, base: Base) -> TrainConfig:
    """The settings of training as they hold for a model that knows much already.

    The encoders stay as they are, so that every saved style and latent goes on meaning the same, and the decoder learns
    slowly; where it redraws alone, it goes on being taught so. Raises ImpastoError for settings that do not go with a
    model to begin with.
    """
    shape = base.network.config
    if config.resolution not in (TrainConfig.resolution, shape.resolution):
        raise ImpastoError(f"--resolution {config.resolution}: {config.init} makes pictures of {shape.resolution} px.")
    if config.text and not shape.text_dim:
        raise ImpastoError(f"--text: {config.init} has learned no captions, and cannot learn them from few pictures.")
    objective = dataclasses.replace(config.objective, encoders_until=0.0)
    if shape.redraws_alone:
        objective = dataclasses.replace(objective, twin_weight=objective.twin_weight or TWINS, mixture_start=0.0)
    return dataclasses.replace(
        config,
        resolution=shape.resolution,
        learning_rate=SLOWER * config.learning_rate,
        objective=objective,
    )


def only_conditioning(prior: PriorFlow) -> PriorFlow:
    """The prior, of which only what conditions its blocks goes on learning.

    That is enough for another style, and too little to know pictures by heart (DiffFit, Xie 2023, arXiv 2304.06648).
    """
    for name, parameter in prior.named_parameters():
        parameter.requires_grad_(any(part in name for part in CONDITIONING))
    return prior


def with_replay(given: PictureSet, base: Base, seed: int) -> PictureSet:
    """The pictures, variants of those to train on, and samples of the styles that ``base`` has already.

    Raises ImpastoError where there are too few pictures.
    """
    if len(given) < FEWEST_PICTURES:
        raise ImpastoError(
            f"{len(given)} pictures are too few to adapt a model to: give {FEWEST_PICTURES} or more, better 16. One is "
            "enough to draw in its style without training: impasto generate MODEL --style PICTURE."
        )
    pictures = dataclasses.replace(given, channels=base.network.config.channels, held_out=_more_held_out(given))
    random = np.random.default_rng(seed_of(seed, "variants"))
    originals = pictures.train
    for number in range(min(MOST_VARIANTS, LEARNED_FROM // len(originals) - 1)):
        entries = [_square_of(given.entries[i], f"variant {number + 1}", given.resolution) for i in originals.tolist()]
        pictures = pictures.with_more(entries, varied(pictures.batch(originals, random), random))
    each = max(2, REPLAYED // len(base.collections))
    wanted = [name for name in base.collections for _ in range(each)]
    settings = dataclasses.replace(REPLAY, seed=seed_of(seed, "replay"))
    made = torch.cat(list(generate_each(base.network, base.styles.repeat_interleave(each, 0), settings)))
    entries = [
        Entry(f"(sample {n} of {name})", name, None, None, "", given.resolution, given.resolution)
        for n, name in enumerate(wanted)
    ]
    return pictures.with_more(entries, (made * 255).round().byte().numpy())


def _more_held_out(given: PictureSet) -> np.ndarray:
    """One of few pictures says little of a style: every sixth is held out, beside those that always are."""
    return np.union1d(given.held_out, given.train[HELD_OUT_EACH - 1 :: HELD_OUT_EACH])


def _square_of(entry: Entry, name: str, side: int) -> Entry:
    return dataclasses.replace(entry, name=f"{entry.name} ({name})", height=side, width=side)


@torch.no_grad()
def captions_read(base: Base, pictures: PictureSet, indices: np.ndarray, *, said: bool) -> TextVectors | None:
    """What the model itself reads as the captions of pictures; None where it has learned none.

    Where ``said``, the pictures' own captions go before.
    """
    reader, device = base.network.captions, next(base.network.parameters()).device
    if reader is None:
        return None
    found = []
    for start in range(0, len(indices), AT_A_TIME):
        picture = to_device(pictures.batch(indices[start : start + AT_A_TIME]), device)
        found.append(reader(means(base.network.autoencoder.posterior(picture))).cpu())
    read = torch.cat(found)
    own = captions_of(pictures, indices) if said else torch.zeros_like(read)
    return torch.where(own.any(1, keepdim=True), own, read)
