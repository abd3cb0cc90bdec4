"""The held-out split, by hash, so that it does not change when images are added."""

import hashlib
from collections.abc import Hashable, Sequence

import numpy as np

from impasto.data.duplicates import connected

HELD_OUT_SHARE = 0.05


def split(content_hashes: Sequence[str], keys: Sequence[str | None]) -> np.ndarray:
    """Whether each of two or more images is held out: bool (n,), at least one and never all.

    Images with equal keys or equal content are on the same side, transitively. If that leaves one side empty, keys are
    ignored, and then content too.
    """
    contents = [("content", value) for value in content_hashes]
    named = [content if key is None else ("key", key) for content, key in zip(contents, keys, strict=True)]
    for units, others in ((named, contents), (contents, contents)):
        held_out = _by_groups(units, others)
        if held_out is not None:
            return held_out
    return np.arange(len(contents)) == 0


def _by_groups(units: Sequence[tuple[str, str]], others: Sequence[Hashable]) -> np.ndarray | None:
    """Split by groups; None if there is only one group."""
    first: dict[Hashable, int] = {}
    pairs = [(index, first.setdefault(name, index)) for names in (units, others) for index, name in enumerate(names)]
    labels = connected(len(units), pairs)
    values = np.array([_uniform(":".join(unit)) for unit in units])
    # The member with the lowest value decides: a held-out group stays held out when images join it.
    lowest = np.full(len(units), np.inf)
    np.minimum.at(lowest, labels, values)
    groups = np.unique(labels)
    if len(groups) < 2:
        return None
    held_out = lowest[groups] < HELD_OUT_SHARE
    if not held_out.any():
        held_out[np.argmin(lowest[groups])] = True
    if held_out.all():
        held_out[np.argmax(lowest[groups])] = False
    return np.isin(labels, groups[held_out])


def _uniform(text: str) -> float:
    """A number in [0, 1) that depends on the text alone."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:6], "big") / 2**48
