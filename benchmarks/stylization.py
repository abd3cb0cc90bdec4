"""Methods that stylize images, and measures of their style and structure."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from impasto import api
from impasto.backbone import channel_statistics
from impasto.config import STYLIZE_SAMPLING, StylizeConfig
from impasto.create.stylize import stylize_batch
from impasto.data import ImageSet
from impasto.evaluate import style
from impasto.evaluate.evaluator import BATCH, Evaluator
from impasto.evaluate.swap import Stylize
from impasto.model.blocks import Map
from impasto.model.gaussian import Gaussian
from impasto.objective.swap import structure_error
from systems.adain import AdaIn

REFERENCES = 16
"""Images of a collection whose statistics AdaIN averages."""


def by_impasto(model: api.Pipeline, styles: Gaussian, strength: float) -> Stylize:
    """Stylization as `impasto stylize` does it; ``styles`` is (collection, style_dim)."""

    def stylize(content: Map, collections: np.ndarray, indices: np.ndarray) -> Map:
        targets = styles[torch.from_numpy(collections).to(styles.mean.device)]
        return stylize_batch(
            model.network, content, targets, strength=strength, seeds=indices.tolist(), settings=STYLIZE_SAMPLING
        )

    return stylize


def by_shifts(model: api.Pipeline, names: Sequence[str], strength: float, num_shifts: int) -> Stylize:
    """Stylization as `impasto stylize --num-shifts` does it; ``names`` are those of the collections, in order."""

    def stylize(content: Map, collections: np.ndarray, indices: np.ndarray) -> Map:
        outputs, pixels = torch.empty_like(content), (255 * content).round().byte().cpu().numpy()
        for collection in np.unique(collections):
            config = StylizeConfig(style=(names[collection],), strength=strength, num_shifts=num_shifts)
            stylizer = model.stylizer(config)
            for row in np.flatnonzero(collections == collection):
                outputs[row] = torch.from_numpy(stylizer.decode_shifts(stylizer.encode_shifts(pixels[row]))).to(
                    outputs.device
                )
        return outputs

    return stylize


def by_adain(system: AdaIn, references: Callable[[int], Map]) -> Stylize:
    """Stylization with the average statistics of ``references``, which returns the images of a collection."""

    def stylize(content: Map, collections: np.ndarray, indices: np.ndarray) -> Map:
        outputs = torch.empty_like(content[:, :3])
        for collection in np.unique(collections):
            rows = torch.from_numpy(np.flatnonzero(collections == collection)).to(content.device)
            outputs[rows] = system.stylize(content[rows, :3], references(int(collection)).to(content.device))
        return outputs

    return stylize


def references_from(images: ImageSet) -> Callable[[int], Map]:
    """A function that returns evenly spaced training images of a collection: RGB in [0, 1]."""
    ids = images.collection_ids[images.train]

    def references(collection: int) -> Map:
        members = images.train[ids == collection]
        spaced = members[np.linspace(0, len(members) - 1, min(REFERENCES, len(members))).astype(int)]
        return torch.from_numpy(images.batch(spaced)[:, :3]).float() / 255

    return references


def styles_of(model: api.Pipeline, images: ImageSet) -> Gaussian:
    """The model's styles of the images' collections, in their order: (collection, style_dim)."""
    assert model.styles is not None
    order = [model.config.collections.index(name) for name in images.collections]
    return model.styles[order].to(model.device)


class StyleStatistics:
    """Statistics of early features, each divided by its root mean square over an evaluator's training images."""

    def __init__(self, evaluator: Evaluator) -> None:
        self.evaluator = evaluator
        self.scale = style.scale_of(evaluator.train.statistics).clamp(min=1e-6)
        self.train = evaluator.train.statistics.double() / self.scale
        self.held_out = evaluator.held_out.statistics.double() / self.scale

    def __call__(self, image: Map) -> Tensor:
        """Of images in [0, 1]: (image, statistic)."""
        parts = [channel_statistics(self.evaluator.backbone(part)).cpu() for part in image.split(BATCH)]
        return torch.cat(parts).double() / self.scale


def structure_kept(output: Map, content: Map) -> Tensor:
    """Cosine between the double-angle channels of the edges of two batches of images, one per image."""
    return 1 - structure_error(output, content).cpu()
