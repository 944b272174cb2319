"""Fitting weights of which some are zero and stay zero.

Each output has its own set of weights that are not zero, and so its own least squares problem, over the inputs of that
set alone (Frantar and Alistarh, "SparseGPT", arXiv:2301.00774, section 3.1: with the mask fixed, that is the exact
answer). The problems are solved together, as many as fit into a given amount of memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
# Takes weights (groups, inputs, outputs), the inputs' covariance (groups, inputs, inputs), theirs with the outputs
# (groups, inputs, outputs) and a ridge (groups,); gives weights.
Solve = Callable[[Doubles, Doubles, Doubles, Doubles], Doubles]

# Numbers in the covariances of the problems that are solved together: 32 MiB, and a few times that on the way.
_MOST_NUMBERS = 1 << 22


def solve_nonzero(solve: Solve, weights: Doubles, covariance: Doubles, cross: Doubles, ridge: Doubles) -> Doubles:
    """Solves for the weights that are not zero.

    Args:
        solve: Solves for all weights; it must be able to take any number of groups.
        weights: ``(groups, inputs, outputs)``.
        covariance: ``(groups, inputs, inputs)``.
        cross: ``(groups, inputs, outputs)``.
        ridge: ``(groups,)``.

    Returns:
        Weights that are zero wherever ``weights`` are.
    """
    if weights.all():
        return solve(weights, covariance, cross, ridge)
    groups, inputs, outputs = weights.shape
    rows, goals = (each.swapaxes(1, 2).reshape(-1, inputs) for each in (weights, cross))
    group = np.repeat(np.arange(groups), outputs)
    result = np.zeros_like(rows)
    for part in _parts(np.count_nonzero(rows, axis=1)):
        # Inputs with a weight come first; shorter sets are filled up with some without.
        width = int(np.count_nonzero(rows[part], axis=1).max())
        at = np.argsort(rows[part] == 0, axis=1, kind="stable")[:, :width]
        mine, free = rows[part[:, None], at], rows[part[:, None], at] != 0
        inner = covariance[group[part, None, None], at[:, :, None], at[:, None, :]]
        inner = _cut_off(inner, free)
        goal = np.where(free, goals[part[:, None], at], 0)
        found = solve(mine[..., None], inner, goal[..., None], ridge[group[part]])[..., 0]
        result[part[:, None], at] = np.where(free, found, 0)
    return result.reshape(groups, outputs, inputs).swapaxes(1, 2)


def _parts(counts: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.int64]]:
    """Outputs that are solved together: those with about as many weights; those with none are left out."""
    order = np.argsort(counts, kind="stable")
    order = order[counts[order] > 0]
    while len(order):
        fitting = np.cumsum(np.ones_like(order)) * counts[order] ** 2 <= _MOST_NUMBERS
        size = max(1, int(np.count_nonzero(fitting)))
        yield order[:size]
        order = order[size:]


def _cut_off(covariance: Doubles, free: npt.NDArray[np.bool_]) -> Doubles:
    """Makes inputs that fill a set up have nothing in common with others, and a usual variance."""
    variance = np.where(free, np.diagonal(covariance, axis1=1, axis2=2), 0).sum(1) / free.sum(1)
    own = np.where(free, 0, variance[:, None])[..., None] * np.eye(free.shape[1])
    return np.asarray(np.where(free[:, :, None] & free[:, None, :], covariance, own))
