"""Sets of numbers that can be joined."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]


class UnionFind:
    """Disjoint sets (Tarjan, JACM 22(2), 1975, with paths halved on the way)."""

    def __init__(self) -> None:
        self._parent: list[int] = []

    def __len__(self) -> int:
        return len(self._parent)

    def grow(self, count: int) -> Ids:
        """``(count,)`` new numbers, each a set of its own."""
        start = len(self._parent)
        self._parent.extend(range(start, start + count))
        return np.arange(start, start + count)

    def root(self, node: int) -> int:
        """The number that stands for a set."""
        while self._parent[node] != node:
            self._parent[node] = self._parent[self._parent[node]]
            node = self._parent[node]
        return node

    def join(self, first: int, second: int) -> None:
        """Makes two sets one; the second one's number stands for it."""
        self._parent[self.root(first)] = self.root(second)
