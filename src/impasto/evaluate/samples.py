"""Samples of a model, collection by collection, as the evaluator sees them."""

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
    """What was made: a row for each sample, those of a collection side by side."""

    features: ImageFeatures
    labels: Tensor
    """int64 (sample,): the collection that was asked for, as the evaluator's images number them."""
    sheet: Image.Image
    """The first few of each collection."""


def make_samples(
    model: Impasto,
    styles: Gaussian,
    evaluator: Evaluator,
    count: int,
    settings: Sampling,
) -> Samples:
    """Make ``count`` samples in the styles of the collections that model and evaluator know, in their real proportions.

    ``styles`` (collection, style_dim) are the pooled styles of the model's collections.
    """
    names = evaluator.images.collections
    labels = evaluator.labels(model.config.collections, count)
    wanted = [names[label] for label in labels.tolist()]
    told = styles[[model.config.collections.index(name) for name in wanted]]
    shown: dict[str, list[Image.Image]] = {}

    def batches() -> Iterator[Tensor]:
        remaining = iter(wanted)
        for batch in generate_each(model, told, settings):
            for name, image in zip(itertools.islice(remaining, len(batch)), batch.numpy(), strict=True):
                if len(row := shown.setdefault(name, [])) < COLUMNS:
                    row.append(to_image(image))
            yield batch

    features = evaluator.features_of(batches(), "making samples", count)
    return Samples(features, labels, grid(list(shown.values()), list(shown)))
