"""What is wrong with a tensor, told from its channels, its range and what follows it.

The order matters: an outlier channel also looks like a dead range and like a shared scale, and the first name says most
about what to do.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from convert.debug.model import Cause
from convert.debug.statistics import Statistics

# A channel stands out when it is so many times as wide as the usual one,
_OUTLIER = 10.0
# and all but so small a share of the channels stay below.
_FEW = 1 / 8
# A range is dead when it is so many times as wide as what all but a two-thousandth of the values fill. Of Gaussian
# activations it is 1.5 times, of the long tails behind a ReLU twice.
_DEAD, _TAIL = 4.0, 0.0005
# Scales are shared badly when one scale per channel would make this many times less noise (6 dB, one bit).
_SHARED = 4.0
# Where it is not known which channels matter: the usual channel fills at most this share of the range.
_SMALL_CHANNEL = 0.25
_MOSTLY = 0.5
# Weights are rounded to the nearest step to measure them; rounded one after the other they do a few times better.
_MOSTLY_WEIGHTS, _MANY_WEIGHTS = 4.0, 0.05
# A tensor that is clipped but still this good has merely lost rare extremes, as it should.
_GOOD_DB = 15.0
# Less noise than this, and rounded this well alone: nothing is wrong.
_HARDLY, _FINE_DB = 0.003, 20.0

Test = Callable[[Statistics], str]


def cause(one: Statistics, share: float, weights: float = 0.0) -> tuple[Cause, str]:
    """The cause of a tensor's noise and the numbers behind it.

    Args:
        one: The tensor.
        share: Its part of all predicted noise, 0..1.
        weights: What the rounded weights of its layer add, in the same unit.
    """
    if one.weights and weights > max(_MANY_WEIGHTS, _MOSTLY_WEIGHTS * share):
        return "weights", one.weights
    if share < _HARDLY and one.own_sqnr > _FINE_DB:
        return "none", ""
    for name, test in _TESTS:
        if detail := test(one):
            return name, detail
    return "unknown", "values fill the range evenly: 8 bits are this coarse here"


def _clipped(one: Statistics) -> str:
    if one.fixed or one.clipped < _MOSTLY or one.own_sqnr > _GOOD_DB:
        return ""
    low, high = float(one.low.min()), float(one.high.max())
    return f"values from {low:.3g} to {high:.3g} in a range of {one.range[0]:.3g} to {one.range[1]:.3g}"


def _outlier(one: Statistics) -> str:
    spans = one.spans
    alive = spans[spans > 0]
    if len(alive) < 4 or one.fixed:
        return ""
    usual = float(np.median(alive))
    large = np.flatnonzero(spans > _OUTLIER * usual)
    if not len(large) or len(large) > max(1, _FEW * len(spans)):
        return ""
    worst = int(spans.argmax())
    many = f"channel {worst}" if len(large) == 1 else f"{len(large)} channels, such as {worst},"
    verb = "is" if len(large) == 1 else "are"
    return (
        f"{many} {verb} {spans[worst] / usual:.0f} times as wide as the usual channel ({spans[worst]:.3g}, {usual:.3g})"
    )


def _dead(one: Statistics) -> str:
    if one.fixed or not one.rows.size:
        return ""
    low, high = np.quantile(one.rows, [_TAIL, 1 - _TAIL])
    used = max(float(high), 0.0) - min(float(low), 0.0)
    if used <= 0 or one.width < _DEAD * used:
        return ""
    return f"the range is {one.width:.3g} wide, and all but a thousandth of the values fill {used:.3g} of it"


def _shared(one: Statistics) -> str:
    if one.fixed or one.width <= 0:
        return ""
    filled = np.minimum(one.spans / one.width, 1)
    if one.gain is not None and one.gain.sum() > 0:
        # Noise of one scale for all, over the noise of a scale for each.
        excess = float(one.gain.sum() / max(float(one.gain @ np.square(filled)), 1e-30))
        if excess < _SHARED:
            return ""
    elif float(np.median(filled)) > _SMALL_CHANNEL:
        return ""
    widest, narrow = float(one.spans.max()), float(np.quantile(one.spans, 0.25))
    text = f"channels from {narrow:.3g} (a quarter is below) to {widest:.3g} wide share a range of {one.width:.3g}"
    return text + (f", with {', '.join(one.shares_with[:3])}" if one.shares_with else "")


def _activation(one: Statistics) -> str:
    if one.activation in ("leaky", "behind leaky"):
        return "rounded in front of the leaky ReLU and again behind it, where negative numbers use few steps"
    return "the sigmoid behind uses a part of the range only" if one.activation == "sigmoid" else ""


_TESTS: tuple[tuple[Cause, Test], ...] = (
    ("outlier channel", _outlier),
    ("clipped range", _clipped),
    ("dead range", _dead),
    ("shared scale", _shared),
    ("activation", _activation),
)
