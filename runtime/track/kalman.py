"""A Kalman filter for the boxes of all tracks at once, with time in seconds.

A box is its middle and its size, ``cx, cy, w, h`` in pixels. The middle moves with a velocity that wanders (white noise
acceleration, Bar-Shalom, Li and Kirubarajan, "Estimation with Applications to Tracking and Navigation", 2001, section
6.2.2); the size wanders by itself and has no velocity, for a box that shrinks behind something would otherwise go on
shrinking there. The noise of both, and of a detection, grows with the box: its unit is the square root of its area.

Nothing in this model ties two of the four numbers together, so the 8 x 8 covariance of the usual filter (Bewley et al.,
"SORT", arXiv:1602.00763; Zhang et al., "ByteTrack", arXiv:2110.06864) is four 2 x 2 blocks and stays so. They are
predicted and corrected in closed form, without a matrix to invert: the same numbers for a fraction of the time.

An estimate is ``(5, 4, n)`` float64. First axis: value (pixels), velocity (pixels/s), variance of the value, covariance
of both, variance of the velocity. Second axis: ``cx, cy, w, h``. Last axis: tracks. For ``w`` and ``h`` velocity and
both of its (co)variances are 0.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# All relative to the square root of the box's area.
DETECTION_STD = 0.05
"""How far a detector's box is off, of each of the four numbers, where the detector is sure of it."""
DOUBT = 2.0
"""How much farther off a box is whose score is 0: half covered objects score low, and their boxes move aside."""
FIRST_SPEED_STD = 2.0
"""How fast an object may be when it is first seen, per second."""
ACCELERATION = 1.0
"""How much the velocity wanders: standard deviation of its change after one second."""
SIZE_WANDER = 0.5
"""How much the size wanders: standard deviation of its change after one second."""

_MIN_UNIT = 1.0  # pixels: an empty box must not make a filter that is sure of everything


def unit_of(boxes: Floats) -> Floats:
    """The unit of a box's noise.

    Args:
        boxes: ``(4, n)`` ``cx, cy, w, h`` in pixels.

    Returns:
        ``(n,)`` square root of the area, at least 1 pixel.
    """
    unit: Floats = np.maximum(np.sqrt(boxes[2] * boxes[3]), _MIN_UNIT)
    return unit


def noise_of(unit: Floats, scores: npt.NDArray[np.float32]) -> Floats:
    """How far boxes may be off, by how sure the detector is (Du et al., "GIAOTracker", arXiv:2202.11983, section 3.3).

    Args:
        unit: ``(n,)`` pixels, of :func:`unit_of`.
        scores: ``(n,)`` 0..1.

    Returns:
        ``(n,)`` standard deviation of each of ``cx, cy, w, h`` in pixels.
    """
    return DETECTION_STD * unit * (1 + DOUBT * (1 - scores))


def begin(boxes: Floats, unit: Floats, noise: Floats) -> Floats:
    """The estimate after one detection.

    Args:
        boxes: ``(4, n)`` ``cx, cy, w, h`` in pixels.
        unit: ``(n,)`` pixels, of :func:`unit_of`.
        noise: ``(n,)`` pixels, of :func:`noise_of`.

    Returns:
        ``(5, 4, n)``.
    """
    estimate = np.zeros((5, 4, boxes.shape[1]))
    estimate[0] = boxes
    estimate[2] = noise**2
    estimate[4, :2] = (FIRST_SPEED_STD * unit) ** 2
    return estimate


def predict(estimate: Floats, unit: Floats, seconds: float) -> Floats:
    """The estimate some time later. Two steps after each other give what one step of both lengths gives.

    Args:
        estimate: ``(5, 4, n)``.
        unit: ``(n,)`` pixels, of :func:`unit_of`.
        seconds: Not below 0.

    Returns:
        ``(5, 4, n)``, a new array.
    """
    later = estimate.copy()
    x, v, xx, xv, vv = later[:, :2]
    noise = (ACCELERATION * unit) ** 2 * seconds
    x += seconds * v
    # In this order each line reads what it needs from before the step.
    xx += seconds * (2 * xv + seconds * vv) + noise * (seconds * seconds / 3)
    xv += seconds * vv + noise * (seconds / 2)
    vv += noise
    later[2, 2:] += (SIZE_WANDER * unit) ** 2 * seconds
    return later


def correct(estimate: Floats, boxes: Floats, noise: Floats) -> Floats:
    """The estimate once a detection is known.

    Args:
        estimate: ``(5, 4, n)``, predicted for the time of the detection.
        boxes: ``(4, n)`` ``cx, cy, w, h`` in pixels that were detected.
        noise: ``(n,)`` standard deviation of each of the four numbers, pixels, of :func:`noise_of`.

    Returns:
        ``(5, 4, n)``, a new array.
    """
    x, _, xx, xv, vv = estimate
    gain = estimate[2:4] / (xx + noise**2)
    error = boxes - x
    corrected = np.empty_like(estimate)
    corrected[:2] = estimate[:2] + gain * error
    corrected[2:4] = (1 - gain[0]) * estimate[2:4]
    corrected[4] = vv - gain[1] * xv
    return corrected
