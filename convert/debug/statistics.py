"""What was measured on one tensor, whatever kind of network it is in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from convert.quantize.tensors import Range

Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
Next = Literal["", "leaky", "behind leaky", "sigmoid"]

# Better than any tensor can be; keeps figures finite.
_MOST_DB = 120.0


@dataclass(frozen=True, eq=False)
class Statistics:
    """One int8 tensor over all pictures, in float and rounded.

    Attributes:
        name: Of the layer that makes it.
        range: What int8 can hold.
        low, high: ``(channels,)`` extremes in float.
        rows: ``(n, channels)`` float values at random places.
        power: ``(channels,)`` mean square in float.
        error: ``(channels,)`` mean square of rounded minus float, with everything before it rounded too.
        own: ``(channels,)`` the same with this tensor alone rounded.
        clipped: Share of ``own`` that comes from values beyond the range, 0..1.
        noise: Predicted noise of ``own`` at the outputs, in any unit.
        weight_noise: The same of the rounded weights of the layer that makes it; 0 where not known.
        gain: ``(channels,)`` what noise in a channel does to the outputs; ``None`` where not known.
        partner: The tensor on the other side of a leaky ReLU; empty where there is none.
        activation: Which activation follows, or that this is a leaky ReLU's own result.
        shares_with: Other tensors with the same scale.
        weights: What is unusual about the weights of its layer.
        fixed: Whether the format fixes its range, so that nobody could choose better.
    """

    name: str
    range: Range
    low: Floats
    high: Floats
    rows: Floats
    power: Doubles
    error: Doubles
    own: Doubles
    clipped: float
    noise: float
    weight_noise: float = 0.0
    gain: Doubles | None = None
    partner: str = ""
    activation: Next = ""
    shares_with: tuple[str, ...] = ()
    weights: str = ""
    fixed: bool = False

    @property
    def spans(self) -> Floats:
        """``(channels,)`` width of each channel, 0 included."""
        return np.asarray(np.maximum(self.high, 0) - np.minimum(self.low, 0))

    @property
    def width(self) -> float:
        """Width of the range."""
        return self.range[1] - self.range[0]

    @property
    def sqnr(self) -> float:
        """See :class:`~convert.debug.model.TensorError`."""
        return decibels(float(self.power.sum()), float(self.error.sum()))

    @property
    def own_sqnr(self) -> float:
        """See :class:`~convert.debug.model.TensorError`."""
        return decibels(float(self.power.sum()), float(self.own.sum()))


def decibels(signal: float, noise: float) -> float:
    """``10 log10(signal / noise)``, at most 120."""
    if noise <= 0 or signal <= 0:
        return _MOST_DB if noise <= 0 else -_MOST_DB
    return float(np.clip(10 * np.log10(signal / noise), -_MOST_DB, _MOST_DB))


def head_noise(rounded: list[Floats], exact: list[Floats]) -> float:
    """Noise in raw outputs: mean square error over variance, mean over the outputs.

    Args:
        rounded: One array per output.
        exact: The same without noise.
    """
    shares = []
    for mine, wanted in zip(rounded, exact, strict=True):
        variance = float(np.var(wanted, dtype=np.float64))
        shares.append(float(np.mean(np.square(mine - wanted), dtype=np.float64)) / max(variance, 1e-12))
    return float(np.mean(shares))
