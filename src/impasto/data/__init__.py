"""Pictures of the user, turned into arrays that are ready for training."""

from impasto.data.audit import Audit
from impasto.data.loaded import Loaded, Whole, WholePictures, read_pictures
from impasto.data.pictures import Entry, PictureSet, spread
from impasto.data.prepare import prepare

__all__ = ["Audit", "Entry", "Loaded", "PictureSet", "Whole", "WholePictures", "prepare", "read_pictures", "spread"]
