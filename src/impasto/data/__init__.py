"""Reading the user's images: training sets, and single images for inference."""

from impasto.data.audit import Audit
from impasto.data.images import Entry, ImageSet, evenly_spaced
from impasto.data.loaded import Loaded, Whole, WholeImages, read_images
from impasto.data.prepare import prepare

__all__ = ["Audit", "Entry", "ImageSet", "Loaded", "Whole", "WholeImages", "evenly_spaced", "prepare", "read_images"]
