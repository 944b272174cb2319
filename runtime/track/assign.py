"""Which detection belongs to which track: an exact assignment that is fast because few pairs overlap at all."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.intp]


def assign(rows: Indices, columns: Indices, weights: npt.NDArray[np.floating]) -> tuple[Indices, Indices]:
    """Pairs of rows and columns with the greatest sum of weights; any row or column may stay alone.

    Most objects overlap one detection and no other: such pairs are taken at once, for all of them. What remains, the
    crowds, is a sparse problem that :class:`_Matching` answers exactly. The sum is that of the Hungarian algorithm.

    Args:
        rows: ``(k,)``, the row of each pair that is allowed; no pair twice.
        columns: ``(k,)``, its column.
        weights: ``(k,)``, its weight, above 0.

    Returns:
        Row and column of each pair that was chosen, ``(c,)`` each, in no order.
    """
    if not len(rows):
        return rows, columns
    alone = (np.bincount(rows)[rows] == 1) & (np.bincount(columns)[columns] == 1)
    if alone.all():
        return rows, columns
    crowd = ~alone
    matching = _Matching(rows[crowd].tolist(), columns[crowd].tolist(), weights[crowd].tolist())
    row_of = matching.solve()
    pairs = np.array([list(row_of.values()), list(row_of)], np.intp)
    return np.concatenate([rows[alone], pairs[0]]), np.concatenate([columns[alone], pairs[1]])


class _Matching:
    """A maximum-weight matching that grows by one row at a time.

    The primal-dual method with shortest augmenting paths (Kuhn, "The Hungarian method", 1955; Jonker and Volgenant, "A
    shortest augmenting path algorithm", 1987) on lists, not arrays: a crowd has a handful of pairs per row.

    Prices prove the answer: ``row_price[i] + column_price[j] >= weight[i, j]``, with equality for chosen pairs; none is
    below 0, and rows and columns that are alone have price 0.
    """

    def __init__(self, rows: list[int], columns: list[int], weights: list[float]) -> None:
        self._edges: dict[int, list[tuple[float, int]]] = {row: [] for row in rows}
        for row, column, weight in zip(rows, columns, weights, strict=True):
            self._edges[row].append((weight, column))
        self._row_price: dict[int, float] = {}
        self._column_price = dict.fromkeys(columns, 0.0)
        self._row_of: dict[int, int] = {}
        self._column_of: dict[int, int] = {}

    def solve(self) -> dict[int, int]:
        """The row of each column that is not alone."""
        for row, own in self._edges.items():
            self._row_price[row], best = max(own)
            if best in self._row_of:
                self._add(row)
            else:  # nothing can be nearer
                self._row_of[best], self._column_of[row] = row, best
        return self._row_of

    def _add(self, start: int) -> None:
        """Takes a row in: Dijkstra's search for the change that costs least, then prices that prove it again."""
        ahead: dict[int, float] = {}  # columns that can be reached, with their distance
        settled: dict[int, float] = {}  # those whose distance is final
        came_from: dict[int, int] = {}
        reached = [(start, 0.0)]
        row, so_far = start, 0.0
        # One row may be left alone, at the cost of its price: the last resort, known from the start.
        length, last, end = self._row_price[start], start, -1
        while True:
            base = so_far + self._row_price[row]
            for weight, column in self._edges[row]:
                there = base + self._column_price[column] - weight
                if column not in settled and there < ahead.get(column, math.inf):
                    ahead[column] = there
                    came_from[column] = row
            nearest = min(ahead, key=ahead.__getitem__, default=-1)
            if nearest < 0 or ahead[nearest] >= length:
                break
            so_far = ahead.pop(nearest)
            if nearest not in self._row_of:
                length, end = so_far, nearest
                break
            settled[nearest] = so_far
            row = self._row_of[nearest]
            reached.append((row, so_far))
            if so_far + self._row_price[row] < length:
                length, last = so_far + self._row_price[row], row
        for row, so_far in reached:
            self._row_price[row] -= max(0.0, length - so_far)
        for column, so_far in settled.items():
            self._column_price[column] += max(0.0, length - so_far)
        self._flip(start, last, end, came_from)

    def _flip(self, start: int, last: int, end: int, came_from: dict[int, int]) -> None:
        """Moves every row of the path on to its next column; ``end`` is a free column, or -1: ``last`` ends alone."""
        if end < 0:
            if last == start:
                return
            end = self._column_of.pop(last)
        while True:
            row = came_from[end]
            before = self._column_of.get(row, -1)
            self._column_of[row], self._row_of[end] = end, row
            if row == start:
                return
            end = before
