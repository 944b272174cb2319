"""One range per scale group: what to cut off so that the rest gets finer steps.

Min-max keeps everything; the others give up rare extremes. The search by mean squared error weighs each channel with
what its noise does to the network's outputs, and measures the error behind a leaky ReLU where one follows: the negative
half hardly matters there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import keras
import numpy as np
import numpy.typing as npt

from convert.quantize.fake_quant import round_to
from convert.quantize.graph import followers, leaky_slope
from convert.quantize.observe import Observed
from convert.quantize.tensors import Range, TensorPlan
from runtime.card import InputSpec

RangeMethod = Literal["mse", "min-max", "percentile", "entropy"]

_BINS = 4096
# Share of the values that lie beyond the percentile's ends, on each side.
_TAIL = 1e-4
_LEAST_WIDTH = 1e-6
# A tensor that is always zero still needs a scale, and one that is not far below those around it: XNNPACK refuses a
# network in which a convolution's input and weight scales together are 256 times the output's.
_DEAD = (0.0, 1.0)
_Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Histogram:
    """Values of one scale group.

    Attributes:
        values: Centres of the bins that hold something.
        counts: How much each holds, weighted.
        low, high: Smallest and largest value ever seen; 0 lies between.
        slope: Of the leaky ReLU behind, 1 without one.
    """

    values: _Doubles
    counts: _Doubles
    low: float
    high: float
    slope: float = 1.0


def choose_ranges(
    model: keras.Model, plan: TensorPlan, seen: Mapping[str, Observed], method: RangeMethod = "mse"
) -> dict[str, Range]:
    """A range for each scale group but the input's.

    Args:
        model: The network.
        plan: Its int8 tensors.
        seen: What was observed at each of them.
        method: ``mse`` (error weighted by its effect on the outputs), ``min-max``, ``percentile`` (a ten-thousandth is
            cut off on each side) or ``entropy`` (Kullback-Leibler divergence of the rounded histogram).
    """
    ranges = {}
    for group, points in plan.members().items():
        if group == plan.group[plan.points[0]]:
            continue
        fixed = [plan.fixed[point] for point in points if point in plan.fixed]
        dead = not any(seen[point].low.any() or seen[point].high.any() for point in points)
        if fixed or dead:
            ranges[group] = fixed[0] if fixed else _DEAD
        else:
            ranges[group] = _METHODS[method](_histogram(model, points, seen, weighted=method == "mse"))
    return _tied(model, plan, seen, ranges) if method == "mse" else ranges


def _tied(
    model: keras.Model, plan: TensorPlan, seen: Mapping[str, Observed], ranges: dict[str, Range]
) -> dict[str, Range]:
    """One range for the tensors in front of and behind a leaky ReLU, where that is better than two.

    With the same scale on both sides positive numbers pass unchanged, and are rounded once instead of twice.
    """
    members, tied = plan.members(), dict(ranges)
    for point in plan.inner:
        if leaky_slope(model, point) is None or ranges[plan.group[point]] == _DEAD:
            continue
        group, behind = plan.group[point], plan.group[followers(model.get_layer(point))[0].name]
        if len(members[group]) > 1 or len(members[behind]) > 1:
            continue
        histogram = _histogram(model, [point], seen, weighted=True)
        both = _search(histogram, lambda h, low, high: _error_behind(h, (low, high), (low, high)))
        if _error_behind(histogram, both, both) < _error_behind(histogram, ranges[group], ranges[behind]):
            tied[group] = tied[behind] = both
    return tied


def _error_behind(histogram: Histogram, front: Range, behind: Range) -> float:
    """Weighted sum of squared errors behind a leaky ReLU whose input and output are both rounded."""
    found = round_to(histogram.values, *front)
    found = round_to(_leaky(found, histogram.slope), *behind)
    return float(histogram.counts @ np.square(found - _leaky(histogram.values, histogram.slope)))


def _leaky(values: _Doubles, slope: float) -> _Doubles:
    return np.where(values < 0, values * slope, values)


def _histogram(model: keras.Model, points: list[str], seen: Mapping[str, Observed], weighted: bool) -> Histogram:
    low = min(0.0, *(float(seen[point].low.min()) for point in points))
    high = max(0.0, *(float(seen[point].high.max()) for point in points))
    high = max(high, low + _LEAST_WIDTH)
    counts = np.zeros(_BINS)
    for point in points:
        rows = seen[point].rows
        weights = np.broadcast_to(_weights(model, point, seen) if weighted else np.ones(rows.shape[1]), rows.shape)
        counts += np.histogram(rows, _BINS, (low, high), weights=weights / len(rows))[0]
    if not counts.any():
        counts = np.histogram(np.concatenate([seen[point].rows.ravel() for point in points]), _BINS, (low, high))[0]
    centres = low + (np.arange(_BINS) + 0.5) * (high - low) / _BINS
    slope = leaky_slope(model, points[0]) if len(points) == 1 else None
    return Histogram(centres[counts > 0], counts[counts > 0], low, high, 1.0 if slope is None else slope)


def _weights(model: keras.Model, point: str, seen: Mapping[str, Observed]) -> _Doubles:
    """Gain per channel where the error is measured: behind the leaky ReLU where there is one."""
    if leaky_slope(model, point) is not None:
        behind = followers(model.get_layer(point))[0].name
        if behind in seen:
            return seen[behind].gain
    return seen[point].gain


def rounding_error(histogram: Histogram, low: float, high: float) -> float:
    """Weighted sum of squared errors of a histogram in int8 of a range, behind its leaky ReLU."""
    found = _leaky(round_to(histogram.values, low, high), histogram.slope)
    return float(histogram.counts @ np.square(found - _leaky(histogram.values, histogram.slope)))


def _search(histogram: Histogram, cost: Callable[[Histogram, float, float], float]) -> Range:
    """Moves both ends inwards, in ever smaller steps, as long as the cost falls."""
    low, high = histogram.low, histogram.high
    best = cost(histogram, low, high)
    for step in (0.8, 0.9, 0.95, 0.98):
        moved = True
        while moved:
            moved = False
            for candidate in ((low * step, high), (low, high * step), (low * step, high * step)):
                if candidate[1] - candidate[0] >= _LEAST_WIDTH and (found := cost(histogram, *candidate)) < best:
                    (low, high), best, moved = candidate, found, True
    return low, high


def divergence(histogram: Histogram, low: float, high: float) -> float:
    """Kullback-Leibler divergence, in nats, of a histogram from itself after rounding to a range.

    The mass of each int8 step is spread evenly over the filled bins it stands for, and what lies outside is put on the
    outermost filled bin (Migacz, "8-bit inference with TensorRT", GTC 2017).
    """
    scale = (high - low) / 255
    steps = np.clip(np.round((histogram.values - low) / scale), 0, 255).astype(np.int64)
    inside = (histogram.values >= low - scale / 2) & (histogram.values <= high + scale / 2)
    if not inside.any():
        return float("inf")
    seen = np.where(inside, histogram.counts, 0.0)
    first, last = inside.nonzero()[0][[0, -1]]
    clipped = seen.copy()
    clipped[first] += histogram.counts[:first].sum()
    clipped[last] += histogram.counts[last + 1 :].sum()
    mass = np.bincount(steps, weights=seen, minlength=256)
    filled = np.bincount(steps, weights=inside, minlength=256)
    spread = np.where(inside, mass[steps] / np.maximum(filled[steps], 1), 0.0)
    p, q = clipped[inside] / clipped.sum(), spread[inside] / max(spread.sum(), 1e-30)
    return float(np.sum(p * np.log(np.maximum(p, 1e-30) / np.maximum(q, 1e-30))))


def _percentile(histogram: Histogram) -> Range:
    share = np.cumsum(histogram.counts) / histogram.counts.sum()
    low = min(0.0, float(histogram.values[int(np.searchsorted(share, _TAIL))]))
    high = max(0.0, float(histogram.values[min(int(np.searchsorted(share, 1 - _TAIL)), len(share) - 1)]))
    return (low, high) if high - low >= _LEAST_WIDTH else (histogram.low, histogram.high)


_METHODS: dict[str, Callable[[Histogram], Range]] = {
    "min-max": lambda histogram: (histogram.low, histogram.high),
    "percentile": _percentile,
    "mse": lambda histogram: _search(histogram, rounding_error),
    "entropy": lambda histogram: _search(histogram, divergence),
}


def input_range(spec: InputSpec) -> Range:
    """The range of a network's input, which is known: what pixels of 0 and 255 become, and 0."""
    scales, offsets = np.broadcast_arrays(spec.scale, spec.offset)
    ends = [*offsets.tolist(), *(offsets + 255 * scales).tolist()]
    return min(0.0, *ends), max(0.0, *ends)
