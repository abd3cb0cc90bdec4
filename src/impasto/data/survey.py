"""A quick look at the images of a folder or archive, before a training chooses its settings."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from impasto.data.decode import decode_whole
from impasto.data.images import evenly_spaced
from impasto.data.listing import list_source, open_source
from impasto.data.reading import read_members

MAX_SURVEYED = 256
"""Images that are opened; of more, evenly spaced ones."""
THUMBNAIL_SIDE = 64
"""Pixels; sizes and transparency are of interest only."""


@dataclass(frozen=True)
class Survey:
    """Numbers about images; those of sizes are about `MAX_SURVEYED` of them."""

    count: int
    """Files with the names of images."""
    long_sides: np.ndarray
    """int64 (surveyed,): pixels along the longer side of each image."""
    short_sides: np.ndarray
    share_with_alpha: float
    """Part of the images that have transparent pixels."""


def survey(images: Path, exclude: Path) -> Survey:
    """Look at the images of a folder (without ``exclude``), .zip or .tar.

    Raises ImpastoError if the source cannot be read. Files that cannot be decoded do not count.
    """
    with open_source(images, exclude=exclude) as source:
        members = list_source(source).images
        chosen = [members[row] for row in evenly_spaced(np.arange(len(members)), MAX_SURVEYED).tolist()]
        readings = read_members(source, chosen, partial(decode_whole, max_side=THUMBNAIL_SIDE))
        decoded = [reading.image for reading in readings if reading.image is not None]
    sizes = np.array([(image.source_height, image.source_width) for image in decoded], np.int64).reshape(-1, 2)
    with_alpha = sum(image.pixels.shape[0] == 4 for image in decoded)
    return Survey(len(members), sizes.max(1), sizes.min(1), with_alpha / max(1, len(decoded)))
