"""Samples of a model for evaluation, collection by collection."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image
from torch import Tensor

from impasto.config import Sampling
from impasto.create.generate import generate_each
from impasto.create.grid import grid
from impasto.create.image import to_image
from impasto.evaluate.evaluator import COLUMNS, Evaluator
from impasto.evaluate.features import ImageFeatures
from impasto.model.gaussian import Gaussian
from impasto.model.impasto import Impasto


@dataclass(frozen=True)
class Samples:
    """Features and labels of samples, one row per sample, sorted by collection."""

    features: ImageFeatures
    labels: Tensor
    """int64 (sample,): the requested collection, an index into the collections of the evaluator's images."""
    sheet: Image.Image
    """The first samples of each collection."""


def make_samples(
    model: Impasto,
    styles: Gaussian,
    evaluator: Evaluator,
    count: int,
    settings: Sampling,
) -> Samples:
    """Generate ``count`` samples in the collections that model and images share, in the proportions of the images.

    ``styles`` (collection, style_dim) are the pooled styles of the model's collections.
    """
    names = evaluator.images.collections
    labels = evaluator.labels(model.config.collections, count)
    requested = [names[label] for label in labels.tolist()]
    sample_styles = styles[[model.config.collections.index(name) for name in requested]]
    shown: dict[str, list[Image.Image]] = {}

    def batches() -> Iterator[Tensor]:
        remaining = iter(requested)
        for batch in generate_each(model, sample_styles, settings):
            for name, image in zip(itertools.islice(remaining, len(batch)), batch.numpy(), strict=True):
                if len(row := shown.setdefault(name, [])) < COLUMNS:
                    row.append(to_image(image))
            yield batch

    features = evaluator.features_of(batches(), "generating samples", count)
    return Samples(features, labels, grid(list(shown.values()), list(shown)))
