"""The signs on a card: suit pips and rank letters, as outlines in a box of height 1."""

from __future__ import annotations

import numpy as np

from runtime.scenes.sheet import Ink, Outline, Points, Sheet, ellipse, smooth

SUITS = ("spades", "hearts", "diamonds", "clubs")
RED_SUITS = frozenset({"hearts", "diamonds"})


def _bezier(*knots: tuple[float, float]) -> Points:
    """Cubic Bezier segments that share their ends: 1 + 3 n control points."""
    control = np.asarray(knots, np.float64)
    t = np.linspace(0, 1, 17)[:, None]
    segments = [
        a * (1 - t) ** 3 + 3 * b * t * (1 - t) ** 2 + 3 * c * t**2 * (1 - t) + d * t**3
        for a, b, c, d in (control[i : i + 4] for i in range(0, len(control) - 1, 3))
    ]
    return np.concatenate(segments)


def _whole(right: Points) -> Points:
    """A shape from its right half."""
    return np.concatenate([right, right[::-1] * (-1, 1)])


def _heart() -> list[Points]:
    half = _bezier((0, -0.26), (0.06, -0.46), (0.44, -0.6), (0.46, -0.24), (0.47, 0.04), (0.14, 0.2), (0, 0.5))
    return [_whole(half)]


def _diamond() -> list[Points]:
    return [_whole(_bezier((0, -0.52), (0.1, -0.32), (0.25, -0.12), (0.38, 0), (0.25, 0.12), (0.1, 0.32), (0, 0.52)))]


def _stem(top: float) -> Points:
    return _whole(_bezier((0.03, top), (0.03, 0.34), (0.06, 0.44), (0.19, 0.5)))


def _spade() -> list[Points]:
    half = _bezier((0, -0.5), (0.1, -0.26), (0.45, -0.12), (0.45, 0.12), (0.45, 0.36), (0.12, 0.4), (0.02, 0.16))
    return [_whole(half), _stem(0.1)]


def _club() -> list[Points]:
    leaves = [ellipse(centre, (0.225, 0.225)) for centre in ((0, -0.27), (-0.25, 0.09), (0.25, 0.09))]
    return [*leaves, ellipse((0, 0), (0.12, 0.12)), _stem(0.0)]


_PIPS = {"hearts": _heart(), "diamonds": _diamond(), "spades": _spade(), "clubs": _club()}


def draw_pip(sheet: Sheet, suit: str, centre: tuple[float, float], height: float, ink: Ink) -> None:
    """A suit's sign, upright.

    Args:
        sheet: Where to.
        suit: One of ``SUITS``.
        centre: Of the sign, units.
        height: Units.
        ink: BGR.
    """
    for outline in _PIPS[suit]:
        sheet.fill(outline * height + centre, ink)


def _strokes(*lines: Outline | Points) -> list[Points]:
    return [np.asarray(line, np.float64) for line in lines]


# Width relative to the height, and strokes in a box of 1 x 1.
_LETTERS = {
    "nine": (
        0.56,
        _strokes(
            ellipse((0.5, 0.3), (0.44, 0.3)),
            smooth([(0.94, 0.3), (0.93, 0.55), (0.78, 0.88), (0.5, 1.0), (0.2, 0.96), (0.08, 0.82)], closed=False),
        ),
    ),
    "ten": (0.72, _strokes([(0.08, 0), (0.08, 1)], ellipse((0.66, 0.5), (0.3, 0.5)))),
    "jack": (
        0.52,
        _strokes(
            smooth([(0.74, 0), (0.74, 0.45), (0.74, 0.78), (0.44, 1.0), (0.14, 0.9), (0.06, 0.7)], closed=False),
            [(0.48, 0), (1.0, 0)],
        ),
    ),
    "queen": (
        0.62,
        _strokes(
            ellipse((0.5, 0.48), (0.44, 0.48)),
            smooth([(0.24, 0.84), (0.42, 0.7), (0.6, 0.86), (0.8, 1.04), (1.02, 0.92)], closed=False),
        ),
    ),
    "king": (
        0.62,
        _strokes(
            *([(0.14, 0), (0.14, 1)], [(0.86, 0), (0.14, 0.62)], [(0.42, 0.4), (0.9, 1)]),
            *([(-0.04, 0), (0.32, 0)], [(-0.04, 1), (0.32, 1)], [(0.68, 0), (1.02, 0)], [(0.74, 1), (1.06, 1)]),
        ),
    ),
    "ace": (
        0.62,
        _strokes(
            *([(0.5, 0), (0.06, 1)], [(0.5, 0), (0.94, 1)], [(0.24, 0.64), (0.76, 0.64)]),
            *([(-0.08, 1), (0.24, 1)], [(0.76, 1), (1.08, 1)]),
        ),
    ),
}


def draw_rank(sheet: Sheet, rank: str, centre: tuple[float, float], height: float, ink: Ink, weight: float) -> None:
    """The letter or number of a rank, upright, with strokes ``weight`` units wide."""
    aspect, strokes = _LETTERS[rank]
    for stroke in strokes:
        sheet.line((stroke - 0.5) * (height * aspect, height) + centre, ink, weight)
