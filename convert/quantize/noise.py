"""How much each int8 tensor disturbs the outputs, and which ones to keep in float first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from convert.quantize.graph import float_layers, followers, is_convolution, is_depthwise, leaky_slope, outputs_of
from convert.quantize.ptq import Quantized

# Moving a number costs about as much as so many multiply-accumulates.
_MACS_PER_VALUE = 8


@dataclass(frozen=True)
class Unit:
    """Tensors that leave int8 together: one scale group, with the tensor behind its leaky ReLU.

    Attributes:
        points: Their names.
        noise: Share of all predicted noise at the outputs that their rounding brings, 0..1.
        cost: Work that becomes float, in multiply-accumulates.
    """

    points: tuple[str, ...]
    noise: float
    cost: float


def predicted_noise(quantized: Quantized) -> dict[str, float]:
    """Variance that the rounding of each point adds to the summed outputs: ``scale^2 / 12`` times its gain.

    A tensor rounds its values evenly within a step (Widrow and Kollar, "Quantization Noise", section 5.1); clipping is
    not counted.
    """
    noise = {}
    for point, seen in quantized.seen.items():
        low, high = quantized.ranges[quantized.plan.group[point]]
        noise[point] = ((high - low) / 255) ** 2 / 12 * float(seen.gain.sum())
    return noise


def units(quantized: Quantized) -> list[Unit]:
    """What can be kept in float, most noise for the least work first; outputs and the input always stay int8."""
    noise = predicted_noise(quantized)
    total = sum(noise.values()) or 1.0
    model, plan = quantized.exact, quantized.plan
    ends = outputs_of(model)
    partner = {p: followers(model.get_layer(p))[0].name for p in plan.inner if leaky_slope(model, p) is not None}
    members, taken, found = plan.members(), set(plan.members()[plan.group[plan.points[0]]]), []
    for point in plan.inner:
        if point in taken:
            continue
        points = list(members[plan.group[point]])
        for other in [partner[p] for p in points if p in partner]:
            points += [p for p in members[plan.group[other]] if p not in points]
        taken.update(points)
        if not ends.intersection(points):
            share = sum(noise[p] for p in points) / total
            found.append(Unit(tuple(points), share, _cost(model, points)))
    return sorted(found, key=lambda unit: -unit.noise / unit.cost)


def _cost(model: keras.Model, points: list[str]) -> float:
    return sum(_work(model.get_layer(name)) for name in float_layers(model, frozenset(points)))


def _work(layer: Any) -> float:
    values = float(np.prod(layer.output.shape[1:]))
    if not is_convolution(layer):
        return values * _MACS_PER_VALUE
    kernel = layer.kernel.shape
    inputs = kernel[0] * kernel[1] * (1 if is_depthwise(layer) else kernel[2])
    return values * float(inputs + _MACS_PER_VALUE)
