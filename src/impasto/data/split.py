"""The held-out images, chosen by hash, so that the choice never moves when other images are added."""

import hashlib
from collections.abc import Hashable, Sequence

import numpy as np

from impasto.data.groups import connected

HELD_OUT_SHARE = 0.05


def split(content_hashes: Sequence[str], keys: Sequence[str | None]) -> np.ndarray:
    """Whether each of at least two images is held out: bool (n,), never all and never none.

    Images with the same key, or with the same content, are on the same side, also through others. Only
    where this would leave one side empty are keys ignored, and then contents as well.
    """
    contents = [("content", value) for value in content_hashes]
    named = [content if key is None else ("key", key) for content, key in zip(contents, keys, strict=True)]
    for units, others in ((named, contents), (contents, contents)):
        held_out = _by_groups(units, others)
        if held_out is not None:
            return held_out
    return np.arange(len(contents)) == 0


def _by_groups(units: Sequence[tuple[str, str]], others: Sequence[Hashable]) -> np.ndarray | None:
    """Split whole groups; None if there is only one."""
    first: dict[Hashable, int] = {}
    pairs = [(index, first.setdefault(name, index)) for names in (units, others) for index, name in enumerate(names)]
    labels = connected(len(units), pairs)
    values = np.array([_uniform(":".join(unit)) for unit in units])
    # A group is held out as soon as one of its members is: joining others to it never frees it.
    lowest = np.full(len(units), np.inf)
    np.minimum.at(lowest, labels, values)
    groups = np.unique(labels)
    if len(groups) < 2:
        return None
    chosen = lowest[groups] < HELD_OUT_SHARE
    if not chosen.any():
        chosen[np.argmin(lowest[groups])] = True
    if chosen.all():
        chosen[np.argmax(lowest[groups])] = False
    return np.isin(labels, groups[chosen])


def _uniform(text: str) -> float:
    """A number in [0, 1) that depends on the text alone."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:6], "big") / 2**48
