"""Weights to int8, each rounding error made good by the weights not yet rounded.

Rounding every weight to its nearest step is not best: inputs are correlated, and the error of one weight can be taken
back by the others. With ``H`` the second moment of the inputs, weights are rounded one after the other and the error of
each is spread over the rest through the inverse of ``H`` (Frantar et al., "GPTQ", arXiv:2210.17323, algorithm 1).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]

# Largest stored weight: int8 weights are symmetric, -127..127 (TensorFlow Lite's 8-bit quantisation specification).
LARGEST = 127
# Added to the diagonal of H, as a share of its mean.
_DAMPING = 1e-2
_TRIES = 4


def weight_scales(weights: Doubles) -> Doubles:
    """Scale per output channel, ``(..., outputs)`` for weights ``(..., inputs, outputs)``."""
    scales = np.abs(weights).max(axis=-2) / LARGEST
    return np.asarray(np.where(scales > 0, scales, 1.0))


def round_nearest(weights: Doubles) -> Doubles:
    """Weights on the steps of their channel's scale, each on the nearest."""
    scales = weight_scales(weights)[..., None, :]
    return np.asarray(np.clip(np.round(weights / scales), -LARGEST, LARGEST) * scales)


def round_kernel(kernel: npt.NDArray[np.float32], depthwise: bool, per_tensor: bool = False) -> npt.NDArray[np.float32]:
    """A convolution's kernel with each weight on the nearest step.

    Args:
        kernel: ``(height, width, inputs, outputs)``, of a depthwise one ``(height, width, channels, multiplier)``.
        depthwise: Which of the two.
        per_tensor: One scale for all weights instead of one per output channel.
    """
    outputs = kernel.shape[2] * kernel.shape[3] if depthwise else kernel.shape[3]
    rounded = round_nearest(kernel.reshape(-1, 1 if per_tensor else outputs).astype(np.float64))
    return rounded.reshape(kernel.shape).astype(np.float32)


def round_weights(weights: Doubles, moments: Doubles) -> Doubles:
    """Weights on the steps of their channel's scale, rounded so that the outputs change little.

    Args:
        weights: ``(..., inputs, outputs)``.
        moments: ``(..., inputs, inputs)``, second moment of the inputs around their mean.

    Returns:
        Rounded weights. The largest of each channel is 127 steps, so that whoever derives the scale from the largest
        weight, as TensorFlow Lite does, finds the very same steps.
    """
    order, upper = _prepare(moments)
    weights = np.take_along_axis(weights, order[..., None], axis=-2)
    scales = weight_scales(weights)
    rounded = _spread(weights, upper, scales)
    for _ in range(_TRIES):
        short = _short(rounded, scales)
        if not short.any():
            break
        # The largest weight lost a step to its neighbours: a scale that fits it, and again.
        scales = np.where(short, np.maximum(np.abs(rounded).max(axis=-2) / LARGEST, scales * 0.9), scales)
        rounded = np.where(short[..., None, :], _spread(weights, upper, scales), rounded)
    rounded = np.where(_short(rounded, scales)[..., None, :], round_nearest(weights), rounded)
    return np.take_along_axis(rounded, np.argsort(order, axis=-1)[..., None], axis=-2)


def _short(rounded: Doubles, scales: Doubles) -> npt.NDArray[np.bool_]:
    largest = np.abs(rounded).max(axis=-2)
    return np.asarray((largest > 0) & (np.round(largest / scales) < LARGEST))


def _prepare(moments: Doubles) -> tuple[npt.NDArray[np.int64], Doubles]:
    """Order of rounding, most important input first, and the triangle that spreads the errors."""
    size = moments.shape[-1]
    diagonal = np.diagonal(moments, axis1=-2, axis2=-1)
    damping = _DAMPING * diagonal.mean(axis=-1) + 1e-9
    order = np.argsort(-diagonal, axis=-1, kind="stable")
    damped = moments + damping[..., None, None] * np.eye(size)
    damped = np.take_along_axis(np.take_along_axis(damped, order[..., None], -2), order[..., None, :], -1)
    return order, np.swapaxes(np.linalg.cholesky(np.linalg.inv(damped)), -1, -2)


def _spread(weights: Doubles, upper: Doubles, scales: Doubles) -> Doubles:
    rest, rounded = weights.copy(), np.zeros_like(weights)
    for row in range(weights.shape[-2]):
        rounded[..., row, :] = np.clip(np.round(rest[..., row, :] / scales), -LARGEST, LARGEST) * scales
        error = (rest[..., row, :] - rounded[..., row, :]) / upper[..., row, row, None]
        rest[..., row:, :] -= upper[..., row, row:, None] * error[..., None, :]
    return rounded
