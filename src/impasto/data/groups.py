"""Groups of things that are joined by pairs, directly or through others."""

from collections.abc import Iterable

import numpy as np


def connected(num: int, pairs: Iterable[tuple[int, int]]) -> np.ndarray:
    """For each of ``num`` things the smallest index in its group: int64 (num,)."""
    parent = list(range(num))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    for one, other in pairs:
        low, high = sorted((root(one), root(other)))
        parent[high] = low
    return np.array([root(index) for index in range(num)], dtype=np.int64)
