"""Putting flat things into a picture, each with the shadow it throws on what lies below."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np

from runtime.scenes.layout import Item, Matrix, moved, project
from runtime.scenes.sheet import Pixels, Points

_SOFT = 24  # width of the soft rim of a shadow's texture, in texture pixels
_CORE = 64  # its dark core
_STEPS = 16  # of darkness


def paint(picture: Pixels, items: Sequence[Item], light: tuple[float, float], darkness: float) -> None:
    """Draws things in their order.

    Args:
        picture: ``(h, w, 3)`` uint8 BGR, changed in place.
        items: From the lowest to the highest.
        light: Where shadows fall: units on the face per unit of lift, in picture directions.
        darkness: Of a shadow's core, 0..1.
    """
    for item in items:
        polygon = item.polygon()
        area = abs(float(cv2.contourArea(polygon.astype(np.float32))))
        scale = float(np.sqrt(area / (item.face.width * item.face.height)))
        if scale < 0.02:
            continue
        reach = item.lift * scale
        _shade(picture, item, (light[0] * reach, light[1] * reach), item.lift, darkness)
        _shade(picture, item, (0.4 * scale, 0.8 * scale), 2.5, darkness * 0.8)
        _lay(picture, item, polygon, scale)


def _lay(picture: Pixels, item: Item, polygon: Points, scale: float) -> None:
    window = _window(picture, polygon, 2)
    if window is None:
        return
    part, x, y = window
    texture = item.face.level(scale)
    size = (texture.shape[1] / item.face.width, texture.shape[0] / item.face.height)
    warped = _warp(texture, moved(-x, -y) @ item.matrix @ np.diag([1 / size[0], 1 / size[1], 1]), part)
    through = cv2.bitwise_not(cv2.extractChannel(warped, 3))
    below = cv2.multiply(part, cv2.merge([through, through, through]), scale=1 / 255)
    part[:] = cv2.add(below, cv2.cvtColor(warped, cv2.COLOR_BGRA2BGR))


def _shade(picture: Pixels, item: Item, offset: tuple[float, float], soft: float, darkness: float) -> None:
    """Darkens what is below an item; ``soft`` is the width of the rim in units, half of it outside the shape."""
    face = item.face
    # In steps, so that most cards share a few textures.
    soft = float(2.5 * 1.5 ** round(np.log(soft / 2.5) / np.log(1.5)))
    rim = 0.5 * soft
    corners = np.array([(-rim, -rim), (face.width + rim, face.height + rim)])
    corners = np.array([corners[0], (corners[1, 0], corners[0, 1]), corners[1], (corners[0, 0], corners[1, 1])])
    window = _window(picture, project(item.matrix, corners) + offset, 1)
    if window is None:
        return
    part, x, y = window
    disc = cv2.contourArea(face.outline.astype(np.float32)) < 0.85 * face.width * face.height
    texture = _shadow(max(1, round(darkness * _STEPS)), _count(soft, face.width), _count(soft, face.height), disc)
    grow = np.diag([(face.width + 2 * rim) / texture.shape[1], (face.height + 2 * rim) / texture.shape[0], 1])
    matrix = moved(offset[0] - x, offset[1] - y) @ item.matrix @ moved(-rim, -rim) @ grow
    dark = cv2.bitwise_not(_warp(texture, matrix, part))
    part[:] = cv2.multiply(part, cv2.merge([dark, dark, dark]), scale=1 / 255)


def _count(soft: float, length: float) -> int:
    """Texture pixels along a side whose rim is ``soft`` units wide, such that the rim gets ``_SOFT`` at most."""
    return int(np.clip(round(_SOFT * (length + soft) / soft), 2 * _SOFT, 8 * _CORE))


@lru_cache(maxsize=128)
def _shadow(steps: int, width: int, height: int, disc: bool) -> Pixels:
    """A soft rectangle or disc, ``(height, width)`` uint8, ``steps / 16`` of 255 in its core."""
    x, y = (np.minimum(np.arange(count) + 0.5, count - np.arange(count) - 0.5) for count in (width, height))
    if disc:
        shade = _ramp(width / 2 - np.hypot(width / 2 - x[None, :], height / 2 - y[:, None]))
    else:
        shade = np.outer(_ramp(y), _ramp(x))
    return np.round(shade * 255 * min(1.0, steps / _STEPS)).astype(np.uint8)


def _ramp(distance: Points) -> Points:
    """From 0 at the edge smoothly to 1 at ``_SOFT`` texture pixels inside."""
    near = np.clip(distance / _SOFT, 0, 1)
    return np.asarray(near * near * (3 - 2 * near))


def _window(picture: Pixels, polygon: Points, margin: int) -> tuple[Pixels, int, int] | None:
    """The part of the picture around a shape, and where it starts; ``None`` outside."""
    height, width = picture.shape[:2]
    low = np.clip(np.floor(polygon.min(0)) - margin, 0, (width, height)).astype(int)
    high = np.clip(np.ceil(polygon.max(0)) + margin, 0, (width, height)).astype(int)
    if (high <= low).any():
        return None
    return picture[low[1] : high[1], low[0] : high[0]], int(low[0]), int(low[1])


def _warp(texture: Pixels, matrix: Matrix, part: Pixels) -> Pixels:
    """A texture seen through a homography between continuous coordinates, in the size of ``part``."""
    centred = moved(-0.5, -0.5) @ matrix @ moved(0.5, 0.5)
    size = (part.shape[1], part.shape[0])
    return np.asarray(cv2.warpPerspective(texture, centred, size, flags=cv2.INTER_LINEAR), np.uint8)
