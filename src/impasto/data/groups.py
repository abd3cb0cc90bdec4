"""Connected components of a graph."""

from collections.abc import Iterable

import numpy as np


def connected(num: int, pairs: Iterable[tuple[int, int]]) -> np.ndarray:
    """The smallest index in the component of each of ``num`` nodes, by union-find over ``pairs``: int64 (num,).

    >>> connected(4, [(0, 2), (2, 3)])
    array([0, 1, 0, 0])
    """
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
