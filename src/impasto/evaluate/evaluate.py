"""Judge a model on a folder of pictures: every number beside what it must be compared with."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from impasto.config import Against
from impasto.create.generate import generate
from impasto.create.grid import grid
from impasto.create.picture import to_image
from impasto.create.redraw import redraw
from impasto.data import PictureSet
from impasto.errors import ImpastoError
from impasto.evaluate import likelihood
from impasto.evaluate.judge import BATCH, COLUMNS, Judge, Measured, Progress, check_installed, sheet_of, spread
from impasto.evaluate.network import GivenNetwork
from impasto.evaluate.scores import Best, Unmeasured, average
from impasto.evaluate.swap import held_out_pairs, swap
from impasto.model.autoencoder import LEVEL_NAMES
from impasto.model.blocks import Map
from impasto.model.gaussian import Gaussian
from impasto.model.impasto import Impasto

MOST_LIKELIHOODS = 128
IMPORTANCE_SAMPLES = 16
MOST_SWAPS = 256


@dataclass(frozen=True)
class Report:
    """What was measured, and pictures to look at."""

    settings: Mapping[str, object]
    groups: Mapping[str, tuple[Measured, ...]]
    sheets: Mapping[str, Image.Image]


def evaluate(
    model: Impasto,
    styles: Float[Tensor, "collection 2 style"],
    pictures: PictureSet,
    *,
    against: Against = Against.HELD_OUT,
    samples: int = 2000,
    seed: int = 0,
    steps: int = 16,
    temperature: float = 1.0,
    guidance: float = 1.5,
    trust: float = 0.3,
    network: GivenNetwork | None = None,
    progress: Progress = lambda what, done, total: None,
) -> Report:
    """Measure ``model`` on ``pictures``, whose held-out part it must not have seen.

    ``styles`` are the collections' pooled styles, in the order of the model's collections. A ``network`` that the user
    brings adds distances on its features. A metric that cannot be had
    says why, and the others go on. Raises ImpastoError where the pictures do not fit the model.
    """
    check_installed()
    if pictures.resolution != model.config.resolution or pictures.channels != model.config.channels:
        raise ImpastoError(
            f"the pictures are {pictures.channels} channels at {pictures.resolution} px, "
            f"the model has {model.config.channels} at {model.config.resolution} px."
        )
    settings = {
        "against": against,
        "samples": samples,
        "seed": seed,
        "steps": steps,
        "temperature": temperature,
        "guidance": guidance,
        "trust": trust,
        "features": network.name if network is not None else "lite2",
        "train": len(pictures.train),
        "held_out": len(pictures.held_out),
    }
    known = [name for name in pictures.collections if name in model.config.collections]
    if not known:
        raise ImpastoError("no collection of these pictures is one of the model's: evaluate it on its own folder.")
    judge = Judge(pictures, next(model.parameters()).device, seed, progress)
    sheets: dict[str, Image.Image] = {}
    labels = judge.labels(known, samples)
    shown: dict[str, list[Image.Image]] = {}
    sampling = {"seed": seed, "steps": steps, "temperature": temperature, "guidance": guidance}
    batches = _samples(model, styles, [pictures.collections[i] for i in labels], shown, sampling)
    made = judge.look(batches, "making samples", samples)
    sheets["Samples by collection"] = grid(list(shown.values()), list(shown))

    def reconstruct(picture: Map) -> list[Map]:
        return [model.autoencoder.reconstruct(picture, level + 1) for level in range(len(LEVEL_NAMES))]

    reconstruction, sheet = judge.reconstruction(reconstruct, LEVEL_NAMES)
    sheets["Held-out pictures and what each coarse prefix of levels keeps"] = sheet
    memorisation, closest = judge.memorisation(made)
    if closest is not None:
        sheets["Samples closest to a training picture"] = closest
    swapped, redrawn = _swap(judge, model, styles, trust=trust, steps=steps)
    if redrawn is not None:
        sheets["Content, redrawn in another collection's style, that collection's own drawing"] = redrawn
    generation = judge.generation(made, against)
    if network is not None:
        generation += judge.generation_by(network, made, against)
    groups: dict[str, tuple[Measured, ...]] = {
        "reconstruction": reconstruction,
        "generation": generation,
        "style": judge.style(made, labels),
        "memorisation": memorisation,
        "likelihood": _likelihood(judge, model),
        "swap": swapped,
    }
    progress("done", 1, 1)
    return Report(settings, groups, sheets)


def _samples(
    model: Impasto, styles: Tensor, names: list[str], shown: dict[str, list[Image.Image]], sampling: dict[str, float]
) -> Iterator[Tensor]:
    """One sample after the other in the style of each name; the first few of each are kept in ``shown``."""
    device, start = next(model.parameters()).device, 0
    for name in dict.fromkeys(names):
        told = styles[model.config.collections.index(name)].to(device)
        indices = range(start, start + names.count(name))
        made = generate(model, Gaussian(told[:1], told[1:]), indices, **sampling)  # pyrefly: ignore
        shown[name] = []
        for array in made:
            if len(shown[name]) < COLUMNS:
                shown[name].append(to_image(array))
            yield torch.from_numpy(array[None])
        start = indices.stop


def _likelihood(judge: Judge, model: Impasto) -> tuple[Measured, ...]:
    """Bounds on the likelihood of held-out pictures under the standard normal prior, in bits per dimension."""
    chosen = spread(judge.pictures.held_out, MOST_LIKELIHOODS)
    generator = torch.Generator().manual_seed(judge.seed)
    fit = judge.batch(spread(judge.pictures.train, MOST_LIKELIHOODS))
    scale = likelihood.fitted_scale(model.autoencoder, fit, generator)
    parts = []
    for start in range(0, len(chosen), BATCH):
        judge.progress("bounding the likelihood", start, len(chosen))
        batch = judge.batch(chosen[start : start + BATCH])
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
    judge: Judge, model: Impasto, styles: Tensor, *, trust: float, steps: int
) -> tuple[tuple[Measured, ...], Image.Image | None]:
    """Content of one collection in the style of another, against the other's own drawing of the same thing."""
    pairs = held_out_pairs(judge.pictures, MOST_SWAPS, judge.seed)
    known = set(model.config.collections)
    if not set(judge.pictures.collections) <= known:
        return (Unmeasured("swap_distance", "some collections are not the model's"),), None
    if len(pairs.content) == 0:
        return (Unmeasured("swap_distance", "no held-out pictures of different collections share a key"),), None
    judge.progress("swapping styles", 0, 1)
    order = [model.config.collections.index(name) for name in judge.pictures.collections]
    own = styles[order].to(judge.device)

    def redrawn(content: Map, wanted: np.ndarray, numbers: np.ndarray) -> Map:
        style = own[torch.from_numpy(wanted)]
        seeds = [judge.seed + int(number) for number in numbers]
        return redraw(model, content, Gaussian(style[:, 0], style[:, 1]), trust=trust, seeds=seeds, steps=steps)

    found = swap(redrawn, model.autoencoder.reconstruct, judge.pictures, pairs, judge.train.pooled, judge.backbone)
    chosen = np.linspace(0, len(pairs.content) - 1, min(COLUMNS, len(pairs.content))).astype(int)
    rows = [judge.batch(pairs.content[chosen]), found.pictures[chosen], judge.batch(pairs.target[chosen])]
    sheet = sheet_of(rows, ["content", "redrawn", "own drawing"])
    references = {
        "copying the content": float(found.copied.mean()),
        "nearest other drawing": float(found.other.mean()),
        "own drawing reconstructed": float(found.reconstructed.mean()),
    }
    return (average("swap_distance", found.redrawn, Best.LOW, references),), sheet
