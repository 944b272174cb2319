"""A roofline: how fast every op computes, over how much it computes for each byte it moves.

After Williams, Waterman and Patterson, https://doi.org/10.1145/1498765.1498785. Ops below the slanted roof wait for
memory, ops below the flat one for the multipliers; an op whose tensors stay in a cache may stand above the slanted one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from runtime.errors import InputError, RunError
from runtime.files import replacing
from runtime.profile.report import OpCost, Profile

_WIDTH, _HEIGHT = 1600, 900
_LEFT, _RIGHT, _TOP, _BOTTOM = 90, 1130, 90, 800
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_BLACK, _GREY, _PALE, _WHITE = (30, 30, 30), (110, 110, 110), (225, 225, 225), (255, 255, 255)
_COLORS = {"gemm": (180, 100, 20), "depthwise": (30, 110, 230)}
_LISTED = 22
# Labels of ops nearer than this many pixels are joined.
_NEAR = 14

# Room beside the outermost values, as a factor.
_MARGIN = 1.4

Color = tuple[int, int, int]
_Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class _Axis:
    """A logarithmic axis: the values ``low`` and ``high`` lie at the pixels ``start`` and ``end``."""

    low: float
    high: float
    start: int
    end: int

    def place(self, value: float) -> int:
        """The pixel of a value."""
        return round(self.start + math.log(value / self.low) / math.log(self.high / self.low) * (self.end - self.start))

    def ticks(self) -> list[float]:
        """1, 2 and 5 times the powers of ten that lie on the axis."""
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        ticks = [part * 10.0**power for power in powers for part in (1, 2, 5)]
        return [tick for tick in ticks if self.low <= tick <= self.high]


def check_plot(path: Path) -> Path:
    """Refuses a file name whose ending is no picture's.

    Raises:
        InputError: It names the endings.
    """
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise InputError(f"{path} does not end like a picture", "expected .png or .jpg", "choose another name")
    return path


def save(profile: Profile, path: Path) -> None:
    """Writes the roofline of a profile.

    Raises:
        InputError: The place cannot be written, or no op was timed.
        RunError: The picture cannot be encoded.
    """
    picture = draw(profile)
    with replacing(check_plot(path)) as scratch:
        good, data = cv2.imencode(path.suffix, picture)
        if not good:
            raise RunError(f"{path} could not be encoded", "", "choose .png")
        scratch.write_bytes(data.tobytes())


def draw(profile: Profile) -> npt.NDArray[np.uint8]:
    """The roofline.

    Returns:
        ``(900, 1600, 3)`` uint8, blue, green, red.

    Raises:
        InputError: No op with multiply-accumulates was timed.
    """
    ops = sorted((op for op in profile.ops if op.gmacs), key=lambda op: -(op.ms or 0.0))
    if not ops or profile.peak is None:
        why = profile.finding or "the model has no op with multiply-accumulates"
        raise InputError(f"nothing to plot: {why}", "expected times per op", "leave --plot out")
    canvas = np.full((_HEIGHT, _WIDTH, 3), 255, np.uint8)
    rates = [op.gmacs or 0.0 for op in ops] + [fact.gmacs for fact in profile.gemms]
    ridge = profile.peak.gmacs / profile.copy_gbs if profile.copy_gbs else 1.0
    x = _axis([_intensity(op) for op in ops] + [ridge], _LEFT, _RIGHT)
    y = _axis(rates, _BOTTOM, _TOP)
    _frame(canvas, x, y)
    taken = _roofs(canvas, x, y, profile)
    _points(canvas, x, y, ops, profile.ops_ms, taken)
    _list(canvas, ops, profile)
    _text(canvas, f"{Path(profile.model).name}: {profile.ops_ms:.2f} ms in ops", (_LEFT, 38), 0.8)
    under = f"{profile.provider} on {profile.machine}, {profile.threads} thread(s), {profile.runs} runs"
    if profile.disturbed:
        under += ", each op's least time"
    if profile.throttled:
        under += ", NOT VALID: throttled"
    _text(canvas, under, (_LEFT, 66), 0.5, _GREY)
    return canvas


def _intensity(op: OpCost) -> float:
    return op.work.macs / max(op.work.bytes, 1)


def _axis(values: Sequence[float], start: int, end: int) -> _Axis:
    return _Axis(min(values) / _MARGIN, max(values) * _MARGIN, start, end)


def _frame(canvas: npt.NDArray[np.uint8], x: _Axis, y: _Axis) -> None:
    for tick in x.ticks():
        at = x.place(tick)
        cv2.line(canvas, (at, _TOP), (at, _BOTTOM), _PALE, 1)
        _text(canvas, f"{tick:g}", (at - 10, _BOTTOM + 26), 0.5)
    for tick in y.ticks():
        at = y.place(tick)
        cv2.line(canvas, (_LEFT, at), (_RIGHT, at), _PALE, 1)
        _text(canvas, f"{tick:g}", (_LEFT - 50, at + 6), 0.5)
    cv2.rectangle(canvas, (_LEFT, _TOP), (_RIGHT, _BOTTOM), _GREY, 1)
    _text(canvas, "multiply-accumulates per byte moved (inputs + weights + outputs)", (_LEFT + 230, _BOTTOM + 58), 0.55)
    _text(canvas, "GMAC/s", (12, _TOP - 14), 0.55)


def _roofs(canvas: npt.NDArray[np.uint8], x: _Axis, y: _Axis, profile: Profile) -> list[_Box]:
    """Draws the roofs; returns where they lie, so that no label is written across a flat one."""
    taken = []
    for fact in profile.gemms:
        own = fact is profile.peak
        at = y.place(fact.gmacs)
        cv2.line(canvas, (_LEFT, at), (_RIGHT, at), _BLACK if own else _GREY, 2 if own else 1, cv2.LINE_AA)
        text = f"{fact.dtype} matrix product {fact.gmacs:.1f} GMAC/s"
        _text(canvas, text, (_LEFT + 10, at - 7), 0.5, _BLACK if own else _GREY)
        taken += [(_LEFT, at - 1, _RIGHT, at + 1), (_LEFT, at - 20, _LEFT + 260, at)]
    if profile.copy_gbs and profile.peak:
        first = max(x.low, y.low / profile.copy_gbs)
        last = min(x.high, profile.peak.gmacs / profile.copy_gbs)
        ends = [(x.place(end), y.place(end * profile.copy_gbs)) for end in (first, last)]
        cv2.line(canvas, ends[0], ends[1], _BLACK, 2, cv2.LINE_AA)
        middle = (ends[0][0] + ends[1][0]) // 2 + 12, (ends[0][1] + ends[1][1]) // 2 + 14
        _text(canvas, f"memory {profile.copy_gbs:.1f} GB/s", middle, 0.5)
        taken.append((middle[0], middle[1] - 14, middle[0] + 130, middle[1] + 4))
    return taken


def _points(
    canvas: npt.NDArray[np.uint8], x: _Axis, y: _Axis, ops: Sequence[OpCost], total: float, taken: list[_Box]
) -> None:
    """Discs whose area is the op's share of the time; dearest first, so that small ones stay visible."""
    groups: list[tuple[int, int, int, list[int]]] = []
    for op in ops:
        centre = x.place(_intensity(op)), y.place(op.gmacs or 1.0)
        radius = 4 + round(40 * math.sqrt((op.ms or 0.0) / total)) if total else 4
        color = _COLORS.get(op.work.kind, _GREY)
        cv2.circle(canvas, centre, radius, color, -1, cv2.LINE_AA)
        cv2.circle(canvas, centre, radius, _WHITE, 1, cv2.LINE_AA)
        near = next((g for g in groups if max(abs(g[0] - centre[0]), abs(g[1] - centre[1])) < _NEAR), None)
        if near:
            near[3].append(op.index)
        else:
            groups.append((*centre, radius, [op.index]))
        taken.append((centre[0] - radius, centre[1] - radius, centre[0] + radius, centre[1] + radius))
    for left, top, radius, indices in groups:
        _label(canvas, _joined(indices), (left, top), radius, taken)


def _joined(indices: Sequence[int]) -> str:
    shown = sorted(indices)
    return ",".join(map(str, shown[:6])) + (f" +{len(shown) - 6}" if len(shown) > 6 else "")


def _label(
    canvas: npt.NDArray[np.uint8],
    text: str,
    centre: tuple[int, int],
    radius: int,
    taken: list[_Box],
) -> None:
    """Writes beside a point where nothing is written yet: right, left, above, below, then farther away."""
    (width, height), _ = cv2.getTextSize(text, _FONT, 0.45, 1)
    for away in range(radius + 4, radius + 150, 8):
        for corner in (
            (centre[0] + away, centre[1] + height // 2),
            (centre[0] - away - width, centre[1] + height // 2),
            (centre[0] - width // 2, centre[1] - away),
            (centre[0] - width // 2, centre[1] + away + height),
            (centre[0] + away, centre[1] + away),
            (centre[0] + away, centre[1] - away),
        ):
            box = (corner[0] - 2, corner[1] - height - 2, corner[0] + width + 2, corner[1] + 3)
            inside = box[0] > _LEFT and box[2] < _RIGHT and box[1] > _TOP and box[3] < _BOTTOM
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                if away > radius + 4:
                    cv2.line(canvas, centre, _nearest(box, centre), _GREY, 1, cv2.LINE_AA)
                _text(canvas, text, corner, 0.45)
                return


def _nearest(box: _Box, point: tuple[int, int]) -> tuple[int, int]:
    return min(max(point[0], box[0]), box[2]), min(max(point[1], box[1]), box[3])


def _overlap(one: _Box, other: _Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _list(canvas: npt.NDArray[np.uint8], ops: Sequence[OpCost], profile: Profile) -> None:
    left, top = _RIGHT + 28, _TOP + 12
    for kind, name in (("gemm", "convolution, fully connected"), ("depthwise", "depthwise convolution")):
        cv2.circle(canvas, (left + 6, top - 5), 6, _COLORS[kind], -1, cv2.LINE_AA)
        _text(canvas, name, (left + 22, top), 0.5)
        top += 24
    _text(canvas, "disc area: share of the time", (left, top), 0.5, _GREY)
    top += 34
    for at, text in zip((0, 60, 215, 280, 345), ("op", "M x N x K", "ms", "GMAC/s", "peak"), strict=True):
        _text(canvas, text, (left + at, top), 0.45, _GREY)
    for op in ops[:_LISTED]:
        top += 23
        gemm = op.work.gemm
        shape = f"{gemm.m}x{gemm.n}x{gemm.k}" if gemm else "depthwise"
        share = "" if op.peak_share is None else f"{100 * op.peak_share:.0f} %"
        cells = (str(op.index), shape, f"{op.ms:.3f}", f"{op.gmacs:.1f}", share)
        for at, text in zip((0, 60, 215, 280, 345), cells, strict=True):
            _text(canvas, text, (left + at, top), 0.45)
    rest = sum(op.ms or 0.0 for op in ops[_LISTED:])
    other = profile.ops_ms - rest - sum(op.ms or 0.0 for op in ops[:_LISTED])
    if len(ops) > _LISTED:
        top += 26
        _text(canvas, f"{len(ops) - _LISTED} more: {rest:.3f} ms", (left, top), 0.45, _GREY)
    _text(canvas, f"ops without products: {other:.3f} ms", (left, top + 26), 0.45, _GREY)


def _text(
    canvas: npt.NDArray[np.uint8], text: str, corner: tuple[int, int], size: float, color: Color = _BLACK
) -> None:
    cv2.putText(canvas, text, corner, _FONT, size, color, 1, cv2.LINE_AA)
