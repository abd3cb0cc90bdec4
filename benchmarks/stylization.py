"""Ways to stylize images in the style of others, and how their look and structure are measured."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from impasto.objective.mixture import structure_error
from torch import Tensor

from impasto import api
from impasto.backbone import channel_statistics
from impasto.config import STYLIZE_SAMPLING, StylizeConfig
from impasto.create.stylize import stylize
from impasto.data import ImageSet
from impasto.evaluate import style as look
from impasto.evaluate.evaluator import BATCH, Evaluator
from impasto.evaluate.swap import Stylize
from impasto.model.blocks import Map
from impasto.model.gaussian import Gaussian
from systems.adain import AdaIn

REFERENCES = 16
"""Images of a collection whose statistics AdaIN averages."""


def by_impasto(model: api.Pipeline, styles: Gaussian, strength: float) -> Stylize:
    """As `impasto stylize` does it; ``styles`` holds one row for each collection."""

    def way(content: Map, wanted: np.ndarray, numbers: np.ndarray) -> Map:
        told = styles[torch.from_numpy(wanted).to(styles.mean.device)]
        return stylize(
            model.network, content, told, strength=strength, seeds=numbers.tolist(), settings=STYLIZE_SAMPLING
        )

    return way


def by_shifts(model: api.Pipeline, names: Sequence[str], strength: float, num_shifts: int) -> Stylize:
    """As `impasto stylize --num-shifts` does it; ``names`` are those of the collections by their numbers."""

    def way(content: Map, wanted: np.ndarray, numbers: np.ndarray) -> Map:
        made, pixels = torch.empty_like(content), (255 * content).round().byte().cpu().numpy()
        for collection in np.unique(wanted):
            config = StylizeConfig(style=(names[collection],), strength=strength, num_shifts=num_shifts)
            stylizer = model.stylizer(config)
            for row in np.flatnonzero(wanted == collection):
                made[row] = torch.from_numpy(stylizer.decoded(stylizer.seen(pixels[row]))).to(made.device)
        return made

    return way


def by_adain(system: AdaIn, references: Callable[[int], Map]) -> Stylize:
    """With the averaged statistics of a collection's images, which ``references`` finds by its number."""

    def way(content: Map, wanted: np.ndarray, numbers: np.ndarray) -> Map:
        made = torch.empty_like(content[:, :3])
        for collection in np.unique(wanted):
            rows = torch.from_numpy(np.flatnonzero(wanted == collection)).to(content.device)
            made[rows] = system.stylize(content[rows, :3], references(int(collection)).to(content.device))
        return made

    return way


def references_from(images: ImageSet) -> Callable[[int], Map]:
    """Finds some training images of a collection by its number, evenly from all: RGB in [0, 1]."""
    ids = images.collection_ids[images.train]

    def references(collection: int) -> Map:
        members = images.train[ids == collection]
        some = members[np.linspace(0, len(members) - 1, min(REFERENCES, len(members))).astype(int)]
        return torch.from_numpy(images.batch(some)[:, :3]).float() / 255

    return references


def styles_of(model: api.Pipeline, images: ImageSet) -> Gaussian:
    """What the model knows of the images' collections, one row for each in their order."""
    assert model.styles is not None
    order = [model.config.collections.index(name) for name in images.collections]
    styles = model.styles[order].to(model.device)
    return Gaussian(styles[:, 0], styles[:, 1])


class Eye:
    """Early-stage statistics, each in units of its root mean square in the folder that a evaluator knows."""

    def __init__(self, evaluator: Evaluator) -> None:
        self.evaluator = evaluator
        self.scale = look.scale_of(evaluator.train.statistics).clamp(min=1e-6)
        self.train = evaluator.train.statistics.double() / self.scale
        self.held_out = evaluator.held_out.statistics.double() / self.scale

    def __call__(self, image: Map) -> Tensor:
        """One row for each image in [0, 1]."""
        parts = [channel_statistics(self.evaluator.backbone(part)).cpu() for part in image.split(BATCH)]
        return torch.cat(parts).double() / self.scale


def structure_kept(made: Map, content: Map) -> Tensor:
    """Cosine between the double-angle channels of both images' edges, for each image."""
    return 1 - structure_error(made, content).cpu()
