"""Evaluation of a model on a folder of images: scores with references, and sheets of images."""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from impasto.config import STYLIZE_SAMPLING, Against, EvaluateConfig
from impasto.create.stylize import stylize_batch
from impasto.data import ImageSet, evenly_spaced
from impasto.errors import ImpastoError
from impasto.evaluate import likelihood
from impasto.evaluate.evaluator import BATCH, COLUMNS, Evaluator, Progress, check_installed, sheet_of
from impasto.evaluate.onnx_features import OnnxFeatures
from impasto.evaluate.samples import make_samples
from impasto.evaluate.scores import Best, Measured, Unmeasured, average
from impasto.evaluate.swap import held_out_pairs, swap
from impasto.model.blocks import Map
from impasto.model.gaussian import Gaussian
from impasto.model.impasto import Impasto
from impasto.model.levels import LEVEL_NAMES
from impasto.settings import leaves

MAX_LIKELIHOODS = 128
IMPORTANCE_SAMPLES = 16
MAX_SWAPS = 256


@dataclass(frozen=True)
class Scores:
    """All scores, in groups."""

    reconstruction: tuple[Measured, ...]
    generation: tuple[Measured, ...]
    style: tuple[Measured, ...]
    memorisation: tuple[Measured, ...]
    likelihood: tuple[Measured, ...]
    swap: tuple[Measured, ...]

    def groups(self) -> Iterator[tuple[str, tuple[Measured, ...]]]:
        """Yield the groups with their names, in order."""
        for group in dataclasses.fields(self):
            yield group.name, getattr(self, group.name)


@dataclass(frozen=True)
class Report:
    """The scores of an evaluation, its settings, and sheets of images by title."""

    settings: Mapping[str, object]
    scores: Scores
    sheets: Mapping[str, Image.Image]


def evaluate(
    model: Impasto,
    styles: Gaussian,
    images: ImageSet,
    config: EvaluateConfig | None = None,
    *,
    network: OnnxFeatures | None = None,
    cache: Path | None = None,
    progress: Progress = lambda task, done, total: None,
) -> Report:
    """Evaluate ``model`` on ``images``, whose held-out part must not have been used in its training.

    ``styles`` are the pooled styles of the model's collections. A user-supplied ``network`` adds distances on its
    features. Features of real images are cached in the folder ``cache``. Scores that cannot be measured are
    `Unmeasured`, with a reason. Raises ImpastoError if the images do not fit the model or the extra is not installed.
    """
    check_installed()
    config = config or EvaluateConfig()
    if images.resolution != model.config.resolution or images.channels != model.config.channels:
        raise ImpastoError(
            f"the images are {images.channels} channels at {images.resolution} px, "
            f"the model has {model.config.channels} at {model.config.resolution} px."
        )
    if not set(images.collections) & set(model.config.collections):
        raise ImpastoError("the model has no collection of these images: evaluate it on its own folder.")
    evaluator = Evaluator(images, next(model.parameters()).device, config.sampling.seed, progress, cache=cache)
    samples = make_samples(model, styles, evaluator, config.samples, config.sampling)
    sheets = {"Samples by collection": samples.sheet}

    def reconstruct(image: Map) -> list[Map]:
        return list(model.autoencoder.prefixes(model.autoencoder.posterior(image)))

    reconstruction, sheet = evaluator.reconstruction(reconstruct, LEVEL_NAMES)
    sheets["Held-out images and their reconstructions from coarse prefixes of the levels"] = sheet
    memorisation, closest = evaluator.memorisation(samples.features)
    if closest is not None:
        sheets["Samples closest to a training image"] = closest
    swap_scores, stylized = _swap(evaluator, model, styles, config)
    if stylized is not None:
        sheets["Content, stylized in another collection's style, that collection's own drawing"] = stylized
    compared = len(evaluator.held_out_indices) if config.against is Against.HELD_OUT else config.samples
    reconstructed = evaluator.reconstructed_set(model.autoencoder.reconstruct, min(compared, config.samples))
    generation = evaluator.generation(samples.features, config.against, reconstructed)
    if network is not None:
        generation += evaluator.generation_with(network, samples.features, config.against, reconstructed)
    scores = Scores(
        reconstruction=reconstruction,
        generation=generation,
        style=evaluator.style(samples.features, samples.labels, reconstructed),
        memorisation=memorisation,
        likelihood=_likelihood(evaluator, model),
        swap=swap_scores,
    )
    progress("done", 1, 1)
    settings = {leaf.name: leaf.of(config) for leaf in leaves(config)} | {
        "features": network.name if network is not None else "lite2",
        "train": len(images.train),
        "held_out": len(images.held_out),
    }
    return Report(settings, scores, sheets)


def _likelihood(evaluator: Evaluator, model: Impasto) -> tuple[Measured, ...]:
    """Bounds on the likelihood of held-out images under the standard normal prior, in bits per dimension."""
    indices = evenly_spaced(evaluator.images.held_out, MAX_LIKELIHOODS)
    generator = torch.Generator().manual_seed(evaluator.seed)
    fit = evaluator.batch(evenly_spaced(evaluator.images.train, MAX_LIKELIHOODS))
    scale = likelihood.fitted_scale(model.autoencoder, fit, generator)
    parts = []
    for start in range(0, len(indices), BATCH):
        evaluator.progress("computing likelihood bounds", start, len(indices))
        batch = evaluator.batch(indices[start : start + BATCH])
        parts.append(
            likelihood.bounds(model.autoencoder, batch, scale, samples=IMPORTANCE_SAMPLES, generator=generator)
        )
    elbo, weighted, distortion, rates = (
        torch.cat([getattr(part, name) for part in parts]).cpu()
        for name in ("negative_elbo", "importance_weighted", "distortion", "rates")
    )
    dimensions = model.config.channels * model.config.resolution**2
    uniform = {"8 bits a value, uncompressed": 8.0}
    return (
        average("negative_elbo_bits_per_dim", likelihood.bits_per_dimension(elbo, dimensions), Best.LOW, uniform),
        average(
            f"importance_weighted_bits_per_dim (of {IMPORTANCE_SAMPLES})",
            likelihood.bits_per_dimension(weighted, dimensions),
            Best.LOW,
            uniform,
        ),
        average("distortion_nats", distortion, Best.LOW),
        *(average(f"rate_{name}_nats", rates[:, i], Best.LOW) for i, name in enumerate(LEVEL_NAMES)),
    )


def _swap(
    evaluator: Evaluator, model: Impasto, styles: Gaussian, config: EvaluateConfig
) -> tuple[tuple[Measured, ...], Image.Image | None]:
    """Content of one collection in the style of another, compared with the other's drawing of the same subject."""
    pairs = held_out_pairs(evaluator.images, MAX_SWAPS, evaluator.seed)
    known = set(model.config.collections)
    if not set(evaluator.images.collections) <= known:
        return (Unmeasured("swap_distance", "the model does not have all collections of the images"),), None
    if len(pairs.content) == 0:
        return (Unmeasured("swap_distance", "no held-out images of different collections share a key"),), None
    evaluator.progress("swapping styles", 0, 1)
    order = [model.config.collections.index(name) for name in evaluator.images.collections]
    own = styles[order].to(evaluator.device)

    def stylized(content: Map, collections: np.ndarray, indices: np.ndarray) -> Map:
        seeds = [evaluator.seed + int(index) for index in indices]
        style = own[torch.from_numpy(collections)]
        return stylize_batch(model, content, style, strength=config.strength, seeds=seeds, settings=STYLIZE_SAMPLING)

    swaps = swap(evaluator, pairs, stylized, model.autoencoder.reconstruct)
    columns = np.linspace(0, len(pairs.content) - 1, min(COLUMNS, len(pairs.content))).astype(int)
    rows = [evaluator.batch(pairs.content[columns]), swaps.images[columns], evaluator.batch(pairs.target[columns])]
    sheet = sheet_of(rows, ["content", "stylized", "own drawing"])
    references = {
        "copying the content": float(swaps.copied.mean()),
        "nearest other drawing": float(swaps.other.mean()),
        "own drawing reconstructed": float(swaps.reconstructed.mean()),
    }
    return (average("swap_distance", swaps.stylized, Best.LOW, references),), sheet
