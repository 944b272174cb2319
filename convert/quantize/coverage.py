"""Whether the calibration pictures showed each tensor's whole range.

Ranges of real networks never quite settle: on 128 COCO pictures the second half still widens the median tensor by 4 %
and a few of 268 by more than 15 %. So a tensor is judged by three figures, and a network by the share of its tensors
that fail. Where every picture differs and none stands out, the share outside is 1 or 2 in the number of pictures
whatever the network: then it asks for 20 or 40 pictures, no more and no less. On two detectors and four sets of real
and drawn pictures most tensors fail with 32 pictures and nearly none with 48.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from runtime.errors import InputError

if TYPE_CHECKING:
    from convert.quantize.observe import Observed

# A tensor has settled when half the pictures show all but this share of its range,
WIDENED = 0.15
# no more than this share of pictures is outside what the others show (for a set without outliers about 2 / pictures),
OUTSIDE = 0.05
# and the pictures of the last half do not mostly set records, as they would if something grew from first to last.
GROWING = 0.5
_ORDERS, _SEED = 8, 0

Array = npt.NDArray[np.floating]


@dataclass(frozen=True)
class TensorCoverage:
    """How well one tensor's range is known.

    Attributes:
        tensor: Its name.
        widened: Share of its range that half the pictures do not show, 0..1; mean over random halves.
        outside: Share of pictures (0..1) with a value outside the range of all the others: an estimate of how many
            new pictures would have one (leave one out).
        growing: Share of pictures in the last half, in the order given, that widen the range of all before them.
        converged: Whether all three are small.
    """

    tensor: str
    widened: float
    outside: float
    growing: float
    converged: bool


def observed_coverage(seen: Mapping[str, Observed]) -> tuple[TensorCoverage, ...]:
    """Judges the ranges of tensors as they were observed, by tensor name."""
    low = np.stack([one.low.min(axis=1) for one in seen.values()])
    high = np.stack([one.high.max(axis=1) for one in seen.values()])
    return coverage(list(seen), low, high)


def coverage(names: Sequence[str], low: Array, high: Array) -> tuple[TensorCoverage, ...]:
    """Judges the ranges found in calibration.

    Args:
        names: One per tensor.
        low: ``(tensors, pictures)``, the smallest value of each tensor in each picture.
        high: The largest, same shape.

    Returns:
        One per tensor, in order. A single picture says nothing about the next: nothing has converged.

    Raises:
        InputError: A value that is not a finite number.
        ValueError: The shapes do not fit.
    """
    if low.shape != high.shape or low.ndim != 2 or len(names) != len(low) or not low.shape[1]:
        raise ValueError(f"{len(names)} names, low {low.shape}, high {high.shape}: expected (tensors, pictures)")
    low, high = low.astype(np.float64), high.astype(np.float64)
    wrong = ~(np.isfinite(low) & np.isfinite(high)).all(1)
    if wrong.any():
        raise InputError(
            f"tensor '{names[int(wrong.argmax())]}' of the float network is not a finite number on some picture",
            "expected finite values",
            "check the weights",
        )
    columns = zip(_widened(low, high), _outside(low, high), _growing(low, high), strict=True)
    many = low.shape[1] > 1
    return tuple(
        TensorCoverage(name, w, o, g, many and w <= WIDENED and o <= OUTSIDE and g < GROWING)
        for name, (w, o, g) in zip(names, ((float(w), float(o), float(g)) for w, o, g in columns), strict=True)
    )


def _widened(low: Array, high: Array) -> Array:
    pictures = low.shape[1]
    if pictures < 2:
        return np.ones(len(low))
    width = high.max(1) - low.min(1)
    random = np.random.default_rng(_SEED)
    shares = []
    for _ in range(_ORDERS):
        order = random.permutation(pictures)
        # Both halves take the part of the first, so that a single outlier counts the same whatever the seed.
        for half in (order[: pictures // 2], order[pictures // 2 :]):
            shown = high[:, half].max(1) - low[:, half].min(1)
            shares.append(np.where(width > 0, 1 - shown / np.where(width > 0, width, 1), 0))
    mean: Array = np.mean(shares, axis=0)
    return mean


def _outside(low: Array, high: Array) -> Array:
    if low.shape[1] < 2:
        return np.ones(len(low))
    share: Array = ((high > _others_highest(high)) | (-low > _others_highest(-low))).mean(1)
    return share


def _others_highest(values: Array) -> Array:
    """For each picture the highest value among all other pictures."""
    top = np.sort(values, 1)[:, -2:]
    return np.where(values == top[:, 1:], top[:, :1], top[:, 1:])


def _growing(low: Array, high: Array) -> Array:
    pictures = low.shape[1]
    if pictures < 2:
        return np.ones(len(low))
    record = (high[:, 1:] > np.maximum.accumulate(high, 1)[:, :-1]) | (
        low[:, 1:] < np.minimum.accumulate(low, 1)[:, :-1]
    )
    share: Array = record[:, -(pictures // 2) :].mean(1)
    return share
