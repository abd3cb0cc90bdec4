"""Evaluator a model on a folder of images: every number beside what it must be compared with."""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from impasto.config import STYLIZE_SAMPLING, Against, EvaluateConfig
from impasto.create.stylize import stylize_batch
from impasto.data import ImageSet, spread
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
    """Every number, in groups that answer one question each."""

    reconstruction: tuple[Measured, ...]
    generation: tuple[Measured, ...]
    style: tuple[Measured, ...]
    memorisation: tuple[Measured, ...]
    likelihood: tuple[Measured, ...]
    swap: tuple[Measured, ...]

    def groups(self) -> Iterator[tuple[str, tuple[Measured, ...]]]:
        """The groups with their names, in order."""
        for group in dataclasses.fields(self):
            yield group.name, getattr(self, group.name)


@dataclass(frozen=True)
class Report:
    """What was measured, and images to look at."""

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
    progress: Progress = lambda what, done, total: None,
) -> Report:
    """Measure ``model`` on ``images``, whose held-out part it must not have seen.

    ``styles`` are the collections' pooled styles, in the order of the model's collections. A ``network`` that the user
    brings adds distances on its features. What is seen of the real images is kept in the folder ``cache``. A metric
    that cannot be had says why, and the others go on. Raises ImpastoError where the images do not fit the model.
    """
    check_installed()
    config = config or EvaluateConfig()
    if images.resolution != model.config.resolution or images.channels != model.config.channels:
        raise ImpastoError(
            f"the images are {images.channels} channels at {images.resolution} px, "
            f"the model has {model.config.channels} at {model.config.resolution} px."
        )
    if not set(images.collections) & set(model.config.collections):
        raise ImpastoError("no collection of these images is one of the model's: evaluate it on its own folder.")
    evaluator = Evaluator(images, next(model.parameters()).device, config.sampling.seed, progress, cache=cache)
    made = make_samples(model, styles, evaluator, config.samples, config.sampling)
    sheets = {"Samples by collection": made.sheet}

    def reconstruct(image: Map) -> list[Map]:
        return list(model.autoencoder.prefixes(model.autoencoder.posterior(image)))

    reconstruction, sheet = evaluator.reconstruction(reconstruct, LEVEL_NAMES)
    sheets["Held-out images and what each coarse prefix of levels keeps"] = sheet
    memorisation, closest = evaluator.memorisation(made.features)
    if closest is not None:
        sheets["Samples closest to a training image"] = closest
    swapped, stylized = _swap(evaluator, model, styles, config)
    if stylized is not None:
        sheets["Content, stylized in another collection's style, that collection's own drawing"] = stylized
    compared = len(evaluator.held_indices) if config.against is Against.HELD_OUT else config.samples
    reconstructed = evaluator.reconstructed_set(model.autoencoder.reconstruct, min(compared, config.samples))
    generation = evaluator.generation(made.features, config.against, reconstructed)
    if network is not None:
        generation += evaluator.generation_by(network, made.features, config.against, reconstructed)
    scores = Scores(
        reconstruction=reconstruction,
        generation=generation,
        style=evaluator.style(made.features, made.labels, reconstructed),
        memorisation=memorisation,
        likelihood=_likelihood(evaluator, model),
        swap=swapped,
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
    chosen = spread(evaluator.images.held_out, MAX_LIKELIHOODS)
    generator = torch.Generator().manual_seed(evaluator.seed)
    fit = evaluator.batch(spread(evaluator.images.train, MAX_LIKELIHOODS))
    scale = likelihood.fitted_scale(model.autoencoder, fit, generator)
    parts = []
    for start in range(0, len(chosen), BATCH):
        evaluator.progress("bounding the likelihood", start, len(chosen))
        batch = evaluator.batch(chosen[start : start + BATCH])
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
    """Content of one collection in the style of another, against the other's own drawing of the same thing."""
    pairs = held_out_pairs(evaluator.images, MAX_SWAPS, evaluator.seed)
    known = set(model.config.collections)
    if not set(evaluator.images.collections) <= known:
        return (Unmeasured("swap_distance", "some collections are not the model's"),), None
    if len(pairs.content) == 0:
        return (Unmeasured("swap_distance", "no held-out images of different collections share a key"),), None
    evaluator.progress("swapping styles", 0, 1)
    order = [model.config.collections.index(name) for name in evaluator.images.collections]
    own = styles[order].to(evaluator.device)

    def stylized(content: Map, wanted: np.ndarray, numbers: np.ndarray) -> Map:
        seeds = [evaluator.seed + int(number) for number in numbers]
        style = own[torch.from_numpy(wanted)]
        return stylize_batch(model, content, style, strength=config.strength, seeds=seeds, settings=STYLIZE_SAMPLING)

    found = swap(evaluator, pairs, stylized, model.autoencoder.reconstruct)
    chosen = np.linspace(0, len(pairs.content) - 1, min(COLUMNS, len(pairs.content))).astype(int)
    rows = [evaluator.batch(pairs.content[chosen]), found.images[chosen], evaluator.batch(pairs.target[chosen])]
    sheet = sheet_of(rows, ["content", "stylized", "own drawing"])
    references = {
        "copying the content": float(found.copied.mean()),
        "nearest other drawing": float(found.other.mean()),
        "own drawing reconstructed": float(found.reconstructed.mean()),
    }
    return (average("swap_distance", found.stylized, Best.LOW, references),), sheet
