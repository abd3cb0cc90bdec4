"""Images of the user, turned into arrays that are ready for training."""

from impasto.data.audit import Audit
from impasto.data.images import Entry, ImageSet, spread
from impasto.data.loaded import Loaded, Whole, WholeImages, read_images
from impasto.data.prepare import prepare

__all__ = ["Audit", "Entry", "ImageSet", "Loaded", "Whole", "WholeImages", "prepare", "read_images", "spread"]
