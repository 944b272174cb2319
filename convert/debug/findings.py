"""What can be said about the whole model, from its tensors and its calibration pictures."""

from __future__ import annotations

from collections.abc import Sequence

from convert.debug.model import Cause, Finding, TensorError
from convert.quantize.calibration_check import RANGES, CalibrationReport

# A cause is told of when so much of the noise has it.
_LARGE = 0.2
# These are found in every network to some degree, and told of only where it finds other things than it should.
_COMMON, _AGREES = ("shared scale", "weights"), 97.0
_NAMED = 3

# What is expected, and what to do.
_ADVICE: dict[Cause, tuple[str, str]] = {
    "shared scale": (
        "expected channels of about one size",
        "leave equalisation on; where it cannot reach (in front of ReLU6, grouped convolutions, sums), keep these "
        "tensors in float with --max-slowdown, or train with weight decay",
    ),
    "outlier channel": (
        "expected no channel of more than about ten times the usual width",
        "leave equalisation on; where it cannot reach (grouped convolutions, ReLU6, outputs), divide the channel in "
        "the weights of its convolution and multiply it back in its readers, or keep the tensor in float with "
        "--max-slowdown",
    ),
    "dead range": (
        "expected a range that the values fill",
        "choose ranges by error (--ranges mse), and look for the calibration image that has the extreme",
    ),
    "weights": (
        "expected weights of about one size in each output channel",
        "leave refitting on and give more calibration images, or train with weight decay",
    ),
}
_CLIPPED = (
    "expected ranges that hold what the pictures bring",
    "calibrate on 64 or more images like those of --data",
)


def tensor_findings(tensors: Sequence[TensorError], agreement: float) -> list[Finding]:
    """Causes of a large part of the noise.

    Args:
        tensors: What was found out about each.
        agreement: F1 of int8 with float detections, in percent.
    """
    found: list[Finding] = []
    clipped = [one for one in tensors if one.cause == "clipped range"]
    if sum(one.noise for one in clipped) >= _LARGE:
        worst = sorted(clipped, key=lambda one: -one.noise)
        seen = f"{len(clipped)} of {len(tensors)} tensors are clipped, {_names(worst)} ({worst[0].detail})"
        found.append(Finding("clipped range", seen, *_CLIPPED))
    for cause, advice in _ADVICE.items():
        those = sorted((one for one in tensors if one.cause == cause), key=lambda one: -one.noise)
        share = sum(one.weights if cause == "weights" else one.noise for one in those)
        if share >= _LARGE and not (cause in _COMMON and agreement >= _AGREES):
            part = f"{share:.0%} of the noise comes from" if cause != "weights" else "more noise than usual comes from"
            seen = f"{part} {len(those)} tensors, {_names(those)} ({those[0].detail})"
            found.append(Finding(cause, seen, *advice))
    return found


def calibration_findings(report: CalibrationReport) -> list[Finding]:
    """What is wrong with the calibration pictures."""
    expected = {RANGES: "expected ranges that more images do not widen"}
    return [
        Finding("calibration", w.seen, expected.get(w.kind, "expected images like those the device will see"), w.fix)
        for w in report.warnings
    ]


def _names(tensors: Sequence[TensorError]) -> str:
    more = f" and {len(tensors) - _NAMED} more" if len(tensors) > _NAMED else ""
    return ", ".join(one.name for one in tensors[:_NAMED]) + more
