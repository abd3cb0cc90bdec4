"""Finetuning on few images: part of a trained model goes on training, on them and on samples of its old styles."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from impasto.config import Sampling, TrainConfig
from impasto.create.generate import generate_each
from impasto.data import Entry, ImageSet
from impasto.data.variants import random_variants
from impasto.errors import ImpastoError
from impasto.model.autoencoder import modes
from impasto.model.blocks import to_images
from impasto.model.gaussian import Gaussian
from impasto.model.impasto import Impasto, load_model
from impasto.model.prior import PriorFlow
from impasto.text import TextVectors
from impasto.training.prior_stage import captions_of
from impasto.training.run import model_file
from impasto.training.seeds import seed_of

MIN_IMAGES = 4
LEARNING_RATE_FACTOR = 0.3
"""Learning rate of the decoder against that of an untrained model."""
CONDITIONING = ("condition", "modulation", "scale_shift_table")
"""Parts of the names of the prior's weights that train."""
HELD_OUT_STEP = 6
"""Every sixth image is held out, to decide when to stop."""
MAX_IMAGES = 512
"""Training images and their variants together."""
MAX_VARIANTS = 31
"""Of each image."""
DESTYLIZED_WEIGHT = 0.5
"""Default weight of destylised pairs if the decoder stylizes without the flow."""
NUM_REPLAYED = 160
"""Samples of the old styles together."""
MIN_REPLAYED = 2
"""Samples of each old style, at least."""
MAX_REPLAY_SHARE = 0.1
"""Part of a budget in minutes that sampling them may take."""
REPLAY = Sampling(internal_guidance=1.5)
"""Little internal guidance: what is learned from the samples is sampled with more of it again."""
BATCH = 32
SAMPLED_AT_A_TIME = 8


@dataclass(frozen=True)
class Base:
    """The model to finetune."""

    network: Impasto
    styles: Gaussian
    """Pooled styles of its collections: (collection, style_dim)."""

    @property
    def collections(self) -> tuple[str, ...]:
        """Their names."""
        return self.network.config.collections

    def styles_except(self, new: Sequence[str]) -> dict[str, Gaussian]:
        """The styles, (1, style_dim), of the collections that are not among the ``new`` ones."""
        return {name: self.styles[[row]] for row, name in enumerate(self.collections) if name not in new}


def read_base(model: Path, device: torch.device) -> Base:
    """The run or model file to finetune. Raises ImpastoError if there is none, or it has no styles."""
    network, styles = load_model(model_file(model))
    if styles is None:
        raise ImpastoError(f"--finetune {model}: it has no collections to keep; use a model that impasto train made.")
    return Base(network.to(device), styles)


def finetune_config(config: TrainConfig, base: Base) -> TrainConfig:
    """The settings of training as they hold for a trained model.

    The encoders are frozen, so that every saved style and latent keeps its meaning, and the decoder trains slowly; if
    it stylizes without the flow, destylised pairs keep that ability. Raises ImpastoError for settings that contradict
    the base.
    """
    shape = base.network.config
    if config.resolution not in (None, shape.resolution):
        raise ImpastoError(
            f"--resolution {config.resolution}: {config.finetune} has a resolution of {shape.resolution} px."
        )
    if config.text and not shape.text_dim:
        raise ImpastoError(
            f"--text: {config.finetune} was trained without captions; train a model with --text instead."
        )
    objective = dataclasses.replace(config.objective, freeze_encoders_after=0.0)
    if shape.decoder_only_stylization:
        weight = objective.destylized_weight or DESTYLIZED_WEIGHT
        objective = dataclasses.replace(objective, destylized_weight=weight, stylization_start=0.0)
    return dataclasses.replace(
        config,
        resolution=shape.resolution,
        learning_rate=LEARNING_RATE_FACTOR * config.learning_rate,
        objective=objective,
    )


def only_conditioning(prior: PriorFlow) -> PriorFlow:
    """The prior, with all weights frozen except those that condition its blocks.

    They suffice for another style and cannot memorise images (DiffFit, Xie 2023, arXiv 2304.06648).
    """
    for name, parameter in prior.named_parameters():
        parameter.requires_grad_(any(part in name for part in CONDITIONING))
    return prior


def with_replay(
    given: ImageSet,
    base: Base,
    seed: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
    is_enough: Callable[[float], bool] = lambda seconds: False,
) -> ImageSet:
    """The images, variants of the training images, and samples of the styles of ``base``.

    ``progress`` is called with (samples, in total). With `MIN_REPLAYED` samples of each style, sampling stops when
    ``is_enough`` says so of the seconds that it took. Raises ImpastoError if there are too few images.
    """
    if len(given) < MIN_IMAGES:
        raise ImpastoError(
            f"{len(given)} images are too few to finetune a model on: give {MIN_IMAGES} or more, better 16. One is "
            "enough to generate in its style without training: impasto generate MODEL --style IMAGE."
        )
    images = dataclasses.replace(given, channels=base.network.config.channels, held_out=_more_held_out(given))
    random = np.random.default_rng(seed_of(seed, "variants"))
    originals = images.train
    for number in range(min(MAX_VARIANTS, MAX_IMAGES // len(originals) - 1)):
        entries = [_square_of(given.entries[i], f"variant {number + 1}", given.resolution) for i in originals.tolist()]
        images = images.with_more(entries, random_variants(images.batch(originals, random), random))
    each = max(MIN_REPLAYED, NUM_REPLAYED // len(base.collections))
    names = base.collections * each
    settings = dataclasses.replace(REPLAY, seed=seed_of(seed, "replay"))
    styles = base.styles.apply(lambda values: values.repeat(each, 1))
    started, batches, count = time.monotonic(), [], 0
    for batch in generate_each(base.network, styles, settings, batch_size=SAMPLED_AT_A_TIME):
        batches.append(batch)
        count += len(batch)
        progress(count, len(names))
        if count >= MIN_REPLAYED * len(base.collections) and is_enough(time.monotonic() - started):
            break
    samples = torch.cat(batches)
    entries = [
        Entry(f"(sample {n} of {name})", name, None, None, "", given.resolution, given.resolution)
        for n, name in enumerate(names[:count])
    ]
    return images.with_more(entries, (samples * 255).round().byte().numpy())


def _more_held_out(given: ImageSet) -> np.ndarray:
    """Every sixth image too, in addition to the usual split, which leaves out too few of a small folder."""
    return np.union1d(given.held_out, given.train[HELD_OUT_STEP - 1 :: HELD_OUT_STEP])


def _square_of(entry: Entry, name: str, side: int) -> Entry:
    return dataclasses.replace(entry, name=f"{entry.name} ({name})", height=side, width=side)


@torch.no_grad()
def predicted_captions(base: Base, images: ImageSet, indices: np.ndarray, *, own: bool) -> TextVectors | None:
    """The text vectors that the model predicts from images; None if it was trained without captions.

    With ``own``, the images' own captions replace them where they exist.
    """
    predictor, device = base.network.caption_predictor, next(base.network.parameters()).device
    if predictor is None:
        return None
    parts = []
    for start in range(0, len(indices), BATCH):
        image = to_images(images.batch(indices[start : start + BATCH]), device)
        parts.append(predictor(modes(base.network.autoencoder.posterior(image))).cpu())
    predicted = torch.cat(parts)
    if not own:
        return predicted
    captions = captions_of(images, indices)
    return torch.where(captions.any(1, keepdim=True), captions, predicted)
