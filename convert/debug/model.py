"""What an explanation consists of; plain data, written as JSON by ``runtime.schema.encode``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# Why a tensor is disturbed more than it has to be.
Cause = Literal[
    "shared scale", "dead range", "outlier channel", "activation", "weights", "clipped range", "unknown", "none"
]


@dataclass(frozen=True)
class Restored:
    """What the outputs gain when one tensor is left in float and all others are rounded.

    Of a network that was quantised here, with the weights it had before they were fitted to rounded inputs: fitted ones
    take back a tensor's error and would miss it.

    Attributes:
        with_tensors: Restored together with it: the tensor on the other side of a leaky ReLU.
        agreement_f1: Agreement with the float network then, in percent.
        gives_back: Points of agreement more than with all tensors rounded.
        head_noise: Noise in the raw outputs then, as a share of what it was (1 is no change).
    """

    with_tensors: tuple[str, ...]
    agreement_f1: float
    gives_back: float
    head_noise: float


@dataclass(frozen=True)
class TensorError:
    """One int8 tensor.

    Attributes:
        name: Of the layer that makes it.
        range: Lowest and highest number that int8 can hold here.
        seen: Lowest and highest float number seen.
        channels: How many.
        sqnr: Signal to noise in dB with everything before it rounded too.
        own_sqnr: The same with nothing but this tensor rounded.
        noise: Share of the predicted noise of all tensors at the outputs, 0..1.
        weights: What rounding the weights of its layer to the nearest step would add, in the same unit; an upper bound,
            because weights are rounded better than that. 0 where it is not known.
        cause: What is wrong with it; ``none`` where it brings hardly any noise.
        detail: The numbers behind that.
        restored: What leaving it in float gives back; ``None`` where it was not tried.
    """

    name: str
    range: tuple[float, float]
    seen: tuple[float, float]
    channels: int
    sqnr: float
    own_sqnr: float
    noise: float
    weights: float
    cause: Cause
    detail: str
    restored: Restored | None = None


@dataclass(frozen=True)
class Finding:
    """Something wrong with the whole model.

    Attributes:
        kind: ``concatenated outputs``, ``normalisation``, ``calibration``, ``clipped range``, ``weights``, or the
            cause that a large part of the noise has.
        seen, expected, fix: What was seen, what would be right, what to do.
    """

    kind: str
    seen: str
    expected: str
    fix: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.seen}; {self.expected}; {self.fix}"


@dataclass(frozen=True)
class Explanation:
    """All of it.

    Attributes:
        model: Its name.
        data: Name of the pictures.
        pictures: How many were used.
        agreement_f1: Agreement of int8 with float detections on them, in percent.
        head_sqnr: Signal to noise in the raw outputs, in dB; mean over the outputs.
        findings: About the whole model, most telling first.
        tensors: Those whose restoring was tried, by the head noise that is left, then the others by predicted noise.
    """

    model: str
    data: str
    pictures: int
    agreement_f1: float
    head_sqnr: float
    findings: tuple[Finding, ...]
    tensors: tuple[TensorError, ...]
