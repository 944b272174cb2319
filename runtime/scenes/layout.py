"""Where things lie in a picture, what covers what, and the exact labels that follow from it.

Picture coordinates are continuous: pixel ``(i, j)`` covers ``[i, i + 1) x [j, j + 1)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from runtime.scenes.deck import Face
from runtime.scenes.sheet import Pixels, Points

Matrix = npt.NDArray[np.float64]

MIN_VISIBLE = 0.5
"""A card that shows less than this share of itself has no label."""


@dataclass(frozen=True)
class Scene:
    """A picture of playing cards and the truth about it.

    Attributes:
        pixels: ``(height, width, 3)`` uint8 BGR.
        boxes: ``(n, 4)`` float32 ``x1, y1, x2, y2`` in pixels, around the part of each card that can be seen.
        class_ids: ``(n,)`` int32, positions in ``LABELS``.
        visible: ``(n,)`` float32, share 0.5..1 of the card's area that is in the picture and not covered.
    """

    pixels: Pixels
    boxes: npt.NDArray[np.float32]
    class_ids: npt.NDArray[np.int32]
    visible: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Item:
    """Something flat in a picture.

    Attributes:
        face: What it looks like.
        matrix: ``(3, 3)``, units on the face to picture coordinates.
        class_id: Position in ``LABELS``; -1 for things without a label.
        lift: How far it is above the table, in units: the reach of its shadow.
    """

    face: Face
    matrix: Matrix
    class_id: int = -1
    lift: float = 4.0

    def polygon(self) -> Points:
        """``(n, 2)`` its outline in the picture."""
        return project(self.matrix, self.face.outline)


def project(matrix: Matrix, points: Points) -> Points:
    """Points ``(n, 2)`` through a homography."""
    moved = points @ matrix[:, :2].T + matrix[:, 2]
    return np.asarray(moved[:, :2] / moved[:, 2:])


def moved(dx: float, dy: float) -> Matrix:
    """A shift."""
    return np.array([[1, 0, dx], [0, 1, dy], [0, 0, 1]], np.float64)


def placed(face: Face, centre: tuple[float, float], scale: float, angle: float) -> Matrix:
    """Lays a face on a plane: its middle at ``centre``, turned clockwise by ``angle`` degrees."""
    c, s = scale * np.cos(np.radians(angle)), scale * np.sin(np.radians(angle))
    turn = np.array([[c, -s, centre[0]], [s, c, centre[1]], [0, 0, 1]], np.float64)
    return np.asarray(turn @ moved(-face.width / 2, -face.height / 2))


def camera(width: int, height: int, tilt: float, towards: float, roll: float = 0.0, zoom: float = 1.0) -> Matrix:
    """How a camera above the middle of a table sees it.

    Args:
        width: Of the picture.
        height: Of the picture.
        tilt: Degrees away from looking straight down, below 60.
        towards: Direction of the tilt, degrees.
        roll: Degrees around the viewing direction.
        zoom: Picture pixels per unit of the table at its middle.

    Returns:
        ``(3, 3)``, table coordinates with the origin in the middle to picture coordinates.
    """
    focal = 1.15 * max(width, height)
    a, b, r = np.radians([tilt, towards, roll])
    axis = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    lean = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    spin = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    turn = spin @ axis @ lean @ axis.T
    view = np.stack([turn[:, 0], turn[:, 1], np.array([0, 0, focal / zoom])], 1)
    lens = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    return np.asarray(lens @ view)


def owners(items: Sequence[Item], width: int, height: int, reduce: int = 1) -> Pixels:
    """Which thing is seen at each pixel: 0 for none, else its position in ``items`` plus one.

    Args:
        items: From the lowest to the highest.
        width: Of the picture.
        height: Of the picture.
        reduce: Divides the resolution, for a quick look.

    Returns:
        ``(height / reduce, width / reduce)`` uint8.
    """
    seen = np.zeros((max(1, height // reduce), max(1, width // reduce)), np.uint8)
    for number, item in enumerate(items, 1):
        polygon = item.polygon() / reduce
        middle, size = polygon.mean(0), np.ptp(polygon, 0).min()
        # OpenCV also fills pixels whose middle is up to half a pixel outside, so the shape is drawn that much smaller.
        polygon = middle + (polygon - middle) * max(0.0, 1 - 1 / max(size, 1.0)) - 0.5
        fixed = np.round(np.clip(polygon, -8192, 8192) * 16).astype(np.int32)
        cv2.fillConvexPoly(seen, fixed, number, cv2.LINE_8, 4)
    return seen


def shares(items: Sequence[Item], seen: Pixels, reduce: int = 1) -> npt.NDArray[np.float64]:
    """The share 0..1 of each thing that can be seen.

    Args:
        items: As given to :func:`owners`.
        seen: What it returned.
        reduce: As given to it.
    """
    counts = cv2.calcHist([seen], [0], None, [256], [0, 256]).ravel()[1 : len(items) + 1]
    whole = [cv2.contourArea(item.polygon().astype(np.float32)) / reduce**2 for item in items]
    return np.asarray(np.clip(counts / np.maximum(whole, 1.0), 0, 1))


def label(pixels: Pixels, items: Sequence[Item]) -> Scene:
    """The truth about a picture made of ``items``, from the lowest to the highest."""
    height, width = pixels.shape[:2]
    seen = owners(items, width, height)
    visible = shares(items, seen)
    kept = [i for i, item in enumerate(items) if item.class_id >= 0 and visible[i] >= MIN_VISIBLE]
    boxes = [_box(seen == i + 1, items[i].polygon()) for i in kept]
    return Scene(
        pixels,
        np.asarray(boxes, np.float32).reshape(-1, 4),
        np.array([items[i].class_id for i in kept], np.int32),
        visible[kept].astype(np.float32),
    )


def _box(mask: npt.NDArray[np.bool_], polygon: Points) -> npt.NDArray[np.float64]:
    """The rectangle around what is seen, on the outline itself where that is its end."""
    x, y, w, h = cv2.boundingRect(mask.view(np.uint8))
    found = np.array([x, y, x + w, y + h], np.float64)
    whole = np.concatenate([polygon.min(0), polygon.max(0)])
    box = np.where(np.abs(found - whole) < 1.5, whole, found)
    return np.asarray(np.clip(box, 0, (mask.shape[1], mask.shape[0]) * 2))
