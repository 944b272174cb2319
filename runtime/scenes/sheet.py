"""A sheet to draw playing cards on: filled shapes, strokes and printed patterns, in units of 1/100 inch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint8]
Ink = tuple[int, int, int]
Outline = Sequence[tuple[float, float]]

WIDTH, HEIGHT = 250, 350
"""A poker card is 2.5 x 3.5 inches."""
_SCALE = 3  # pixels per unit while drawing; the finished face is scaled down, which smooths all edges
_SHIFT = 4  # fractional bits of OpenCV's drawing coordinates


def smooth(points: Outline, closed: bool = True, steps: int = 8) -> Points:
    """A Catmull-Rom curve through points.

    Returns:
        ``(n * steps, 2)`` for a closed curve, ``((n - 1) * steps + 1, 2)`` for an open one.
    """
    knots = np.asarray(points, np.float64)
    if closed:
        knots = np.concatenate([knots[-1:], knots, knots[:2]])
    else:
        knots = np.concatenate([2 * knots[:1] - knots[1:2], knots, 2 * knots[-1:] - knots[-2:-1]])
    a, b, c, d = (knots[i : len(knots) - 3 + i, None] for i in range(4))
    t = (np.arange(steps) / steps)[None, :, None]
    curve = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - 3 * c + d - a) * t**3)
    curve = curve.reshape(-1, 2)
    return curve if closed else np.concatenate([curve, knots[-2:-1]])


def ellipse(centre: tuple[float, float], radii: tuple[float, float], start: float = 0, stop: float = 360) -> Points:
    """Points along an ellipse, angles in degrees, clockwise from the right as seen on the picture."""
    angle = np.radians(np.linspace(start, stop, 33))
    return np.stack([centre[0] + radii[0] * np.cos(angle), centre[1] + radii[1] * np.sin(angle)], 1)


def flipped(points: Outline | Points, axis: float) -> Points:
    """Points mirrored left to right about a vertical axis."""
    return np.asarray(points, np.float64) * (-1, 1) + (2 * axis, 0)


@dataclass(frozen=True)
class Pattern:
    """A two-coloured print.

    Attributes:
        kind: ``stripes``, ``checks``, ``dots`` or ``scales``.
        period: Units between repeats.
        angle: Degrees.
        ink: The colour on top, BGR.
        ground: The colour below, BGR.
    """

    kind: str
    period: float
    angle: float
    ink: Ink
    ground: Ink

    def mask(self, x: Points, y: Points) -> npt.NDArray[np.bool_]:
        """Where there is ink, for coordinates in units."""
        turn = np.radians(self.angle)
        u = (x * np.cos(turn) + y * np.sin(turn)) / self.period
        v = (y * np.cos(turn) - x * np.sin(turn)) / self.period
        if self.kind == "stripes":
            return np.asarray(u % 1 < 0.5)
        if self.kind == "checks":
            return np.asarray((np.floor(u) + np.floor(v)) % 2 == 0)
        u = u + 0.5 * (np.floor(v) % 2)
        distance = np.hypot(u % 1 - 0.5, v % 1 - (0.5 if self.kind == "dots" else 0.1))
        return np.asarray(distance < 0.3) if self.kind == "dots" else np.asarray(np.abs(distance - 0.52) < 0.14)


class Sheet:
    """A white card to draw on.

    Args:
        paper: Its colour, BGR.

    Attributes:
        pixels: ``(1050, 750, 3)`` uint8 BGR.
    """

    def __init__(self, paper: Ink) -> None:
        self.pixels: Pixels = np.full((HEIGHT * _SCALE, WIDTH * _SCALE, 3), paper, np.uint8)

    def fill(self, points: Outline | Points, ink: Ink, edge: Ink | None = None, width: float = 1.4) -> None:
        """A filled shape, with an outline of ``width`` units where ``edge`` is given."""
        cv2.fillPoly(self.pixels, [_fixed(points)], ink, cv2.LINE_8, _SHIFT)
        if edge is not None:
            self.line(points, edge, width, closed=True)

    def line(self, points: Outline | Points, ink: Ink, width: float, closed: bool = False) -> None:
        """A stroke of ``width`` units with round ends."""
        thickness = max(1, round(width * _SCALE))
        cv2.polylines(self.pixels, [_fixed(points)], closed, ink, thickness, cv2.LINE_8, _SHIFT)

    def disc(self, centre: tuple[float, float], radius: float, ink: Ink, edge: Ink | None = None) -> None:
        """A filled circle."""
        self.fill(ellipse(centre, (radius, radius)), ink, edge, 1.1)

    def printed(self, points: Outline | Points, pattern: Pattern, edge: Ink, width: float = 1.4) -> None:
        """A shape filled with a pattern, with an outline."""
        corners = np.asarray(points, np.float64) * _SCALE
        x1, y1 = np.clip(np.floor(corners.min(0)).astype(int), 0, None)
        x2, y2 = np.minimum(np.ceil(corners.max(0)).astype(int) + 1, (WIDTH * _SCALE, HEIGHT * _SCALE))
        inside = np.zeros((y2 - y1, x2 - x1), np.uint8)
        cv2.fillPoly(inside, [_fixed(np.asarray(points) - (x1 / _SCALE, y1 / _SCALE))], 255, cv2.LINE_8, _SHIFT)
        rows, columns = np.mgrid[y1:y2, x1:x2] / _SCALE
        ink = pattern.mask(columns, rows)
        part = self.pixels[y1:y2, x1:x2]
        part[(inside > 0) & ink] = pattern.ink
        part[(inside > 0) & ~ink] = pattern.ground
        self.line(points, edge, width, closed=True)

    def turn(self, slope: float = 0.0) -> None:
        """Makes the sheet point-symmetric: what lies below the middle becomes the upper part turned by 180 degrees.

        Args:
            slope: Fall of the dividing line through the centre, in units per unit.
        """
        height, width = self.pixels.shape[:2]
        if not slope:
            self.pixels[height // 2 :] = self.pixels[: height // 2][::-1, ::-1]
            return
        turned = self.pixels[::-1, ::-1].copy()
        across = np.arange(width) + 0.5 - width / 2
        below = (np.arange(height) + 0.5 - height / 2)[:, None] + slope * across >= 0
        cv2.copyTo(turned, below.view(np.uint8), self.pixels)


def _fixed(points: Outline | Points) -> npt.NDArray[np.int32]:
    """Units to OpenCV's fixed-point pixels, whose integers are pixel centres."""
    return np.round((np.asarray(points, np.float64) * _SCALE - 0.5) * (1 << _SHIFT)).astype(np.int32)
