"""What light and a camera do to a picture: gradients, colour casts, exposure, blur, noise and JPEG."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from runtime.scenes.sheet import Pixels
from runtime.scenes.table import Random

_UNITY = 128  # value of a light map that changes nothing
_JUMP = 128  # the noise tile is this much larger than the picture


def light_map(rng: Random, width: int, height: int, contrast: float) -> Pixels:
    """How much light falls where.

    Args:
        rng: Chooses direction, lamp and shadow.
        width: Pixels.
        height: Pixels.
        contrast: 0..1, from even to harsh.

    Returns:
        ``(height, width, 3)`` uint8 BGR; 128 is a gain of 1.
    """
    w, h = max(4, width // 8), max(4, height // 8)
    x, y = np.meshgrid(np.linspace(-1, 1, w), np.linspace(-1, 1, h))
    angle = rng.uniform(0, 2 * np.pi)
    gain = 1 + contrast * 0.4 * (x * np.cos(angle) + y * np.sin(angle))
    lamp = np.exp(-((x - rng.uniform(-1.2, 1.2)) ** 2 + (y - rng.uniform(-1.2, 1.2)) ** 2) / rng.uniform(0.5, 3))
    gain += contrast * rng.uniform(0.1, 0.5) * (lamp - 0.4)
    if rng.random() < 0.25:
        gain *= _cast_shadow(rng, w, h)
    gain /= gain.max() ** 0.5  # as automatic exposure does, with bright parts a little too bright
    warmth = rng.normal(0.02, 0.08)
    tint = np.clip([1 - warmth, 1 + rng.normal(0, 0.025), 1 + warmth], 0.7, 1.3)
    small = np.clip(gain[..., None] * tint * _UNITY, 25, 255).astype(np.uint8)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def _cast_shadow(rng: Random, width: int, height: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """The shadow of whoever holds the camera, as a gain ``(height, width)``."""
    shade = np.zeros((height, width), np.float32)
    middle = rng.uniform(-0.1, 1.1, 2)
    angle = np.sort(rng.uniform(0, 2 * np.pi, 7))
    reach = rng.uniform(0.25, 0.7, 7)
    corners = (middle + np.stack([np.cos(angle), np.sin(angle)], 1) * reach[:, None]) * (width, height)
    cv2.fillPoly(shade, [np.round(corners).astype(np.int32)], 1.0)
    soft = cv2.GaussianBlur(shade, (0, 0), float(rng.uniform(0.5, 5)))
    return np.asarray(1 - rng.uniform(0.2, 0.5) * soft, np.float32)


def lit(picture: Pixels, light: Pixels, exposure: float = 1.0) -> Pixels:
    """The picture under a light map, too bright parts cut off as a sensor does."""
    return np.asarray(cv2.multiply(picture, light, scale=exposure / _UNITY), np.uint8)


@lru_cache(maxsize=4)
def noise_tile(width: int, height: int) -> Pixels:
    """Sensor noise around 128, ``(height, width, 3)`` uint8, always the same; added by :func:`noisy`."""
    coarse = np.random.default_rng(0).integers(0, 256, (2, height, width, 3), np.uint8)
    # The mean of two uniform variables, lightly smoothed: bell-shaped and correlated like demosaiced noise.
    mixed = cv2.addWeighted(coarse[0], 0.5, coarse[1], 0.5, 0)
    return np.asarray(cv2.GaussianBlur(mixed, (3, 3), 0.45), np.uint8)


def noisy(picture: Pixels, jump: int, strength: float) -> Pixels:
    """Adds noise with a standard deviation of about ``50 * strength``.

    Args:
        picture: ``(h, w, 3)`` uint8 BGR.
        jump: Chooses which part of a tile of noise, which is cheaper than new noise.
        strength: 0..1.
    """
    height, width = picture.shape[:2]
    x, y = (jump * 37) % _JUMP, (jump * 53 // _JUMP) % _JUMP
    tile = noise_tile(width + _JUMP, height + _JUMP)[y : y + height, x : x + width]
    return np.asarray(cv2.addWeighted(picture, 1.0, tile, strength, -127.5 * strength), np.uint8)


def smeared(picture: Pixels, length: float, angle: float) -> Pixels:
    """Motion blur: the mean along a line of ``length`` pixels."""
    size = int(np.ceil(length)) | 1
    if size < 3:
        return picture
    kernel = np.zeros((size, size), np.float32)
    half = 0.5 * (length - 1)
    step = np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))]) * half
    ends = np.round((np.array([-step, step]) + size // 2) * 16).astype(int)
    cv2.line(kernel, ends[0].tolist(), ends[1].tolist(), 1.0, 1, cv2.LINE_8, 4)
    return np.asarray(cv2.filter2D(picture, -1, kernel / kernel.sum()), np.uint8)


def photographed(rng: Random, picture: Pixels) -> Pixels:
    """A still picture as some camera would have taken it: lit, out of focus, moved, noisy, compressed."""
    height, width = picture.shape[:2]
    side = max(width, height)
    picture = lit(picture, light_map(rng, width, height, float(rng.uniform(0.1, 1.0))), float(rng.uniform(0.75, 1.2)))
    chance = rng.random(3)
    if chance[0] < 0.45:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.3, 1.6)) * side / 640), np.uint8)
    if chance[1] < 0.15:
        picture = smeared(picture, float(rng.uniform(2, 8)) * side / 640, float(rng.uniform(0, 180)))
    picture = noisy(picture, int(rng.integers(1 << 20)), float(rng.uniform(0.01, 0.14)))
    if chance[2] < 0.35:
        quality = int(rng.integers(30, 92))
        data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        picture = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    return picture
