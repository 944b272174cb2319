"""Channels that stand and fall together, as they are found."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from convert.unionfind import Ids, UnionFind

__all__ = ["Forest", "Ids"]


class Forest:
    """Channels, the blocks they were made in, and why some must stay."""

    def __init__(self) -> None:
        self._channels, self._blocks = UnionFind(), UnionFind()
        self._block_of: list[int] = []
        self._reasons: dict[int, str] = {}

    def grow(self, count: int) -> Ids:
        """The channels of a layer that makes them."""
        block = int(self._blocks.grow(1)[0])
        self._block_of.extend([block] * count)
        return self._channels.grow(count)

    def join(self, ids: Ids, others: Ids) -> None:
        """Channels that leave in pairs: one by one, both sides of the same length."""
        for a, b in zip(ids.tolist(), others.tolist(), strict=True):
            self._channels.join(a, b)
            self._blocks.join(self._block_of[a], self._block_of[b])

    def merge(self, ids: Ids) -> None:
        """Channels that leave all at once."""
        if len(ids):
            self.join(ids[1:], np.full(len(ids) - 1, ids[0]))

    def freeze(self, ids: Iterable[int], reason: str) -> None:
        """Channels that must stay; the first reason is kept."""
        for node in ids:
            self._reasons.setdefault(int(node), reason)

    def number(self) -> tuple[Ids, Ids, dict[int, str]]:
        """Final numbers without gaps.

        Returns:
            Class of every channel ever grown, bundle of every class, and reasons by frozen class. A bundle holds the
            classes of layers that were joined anywhere: its channels are counted together.
        """
        roots = np.array([self._channels.root(node) for node in range(len(self._channels))], np.int64)
        known, classes = np.unique(roots, return_inverse=True)
        blocks = np.array([self._blocks.root(self._block_of[root]) for root in known.tolist()], np.int64)
        bundles = np.unique(blocks, return_inverse=True)[1] if len(blocks) else blocks
        reasons: dict[int, str] = {}
        for node, reason in self._reasons.items():
            reasons.setdefault(int(classes[node]), reason)
        return classes.astype(np.int64), bundles.astype(np.int64), reasons
