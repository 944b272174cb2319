"""Things that are no cards: paper, boxes, discs and pens, so that a net cannot take every pale rectangle for one."""

from __future__ import annotations

import cv2
import numpy as np

from runtime.scenes.deck import Face, make_face
from runtime.scenes.sheet import Pixels, Points, ellipse
from runtime.scenes.table import Random, any_colour, cloud, coloured


def thing(rng: Random) -> Face:
    """A random thing, between 25 and 420 units long."""
    kind = rng.choice(["paper", "box", "disc", "pen"], p=[0.4, 0.3, 0.15, 0.15])
    if kind == "paper":
        return _paper(rng)
    if kind == "box":
        return _box(rng)
    return _disc(rng) if kind == "disc" else _pen(rng)


def _paper(rng: Random) -> Face:
    """A note or form: pale, with lines of writing, sometimes of the proportions of a card."""
    width = float(rng.uniform(120, 300))
    height = width * float(rng.uniform(1.1, 1.6))
    tone = rng.uniform(185, 253)
    pixels = np.full((round(height), round(width), 3), np.clip(tone + rng.uniform(-14, 6, 3), 0, 255), np.uint8)
    if rng.random() < 0.8:
        _write(rng, pixels)
    if rng.random() < 0.3:
        _picture(rng, pixels)
    return make_face(pixels, width, height, float(rng.choice([0.5, 0.5, 11])))


def _write(rng: Random, pixels: Pixels) -> None:
    """Rows of words as dark strokes."""
    height, width = pixels.shape[:2]
    step, ink = rng.uniform(9, 22), (any_colour(rng, 10, 120)).tolist()
    for y in np.arange(step, height * rng.uniform(0.4, 1), step):
        x = width * 0.08
        while x < width * rng.uniform(0.6, 0.92):
            word = rng.uniform(6, 34)
            cv2.line(pixels, (round(x), round(y)), (round(x + word), round(y)), ink, max(1, round(step / 5)))
            x += word + 6


def _picture(rng: Random, pixels: Pixels) -> None:
    """A print in colour somewhere on a page."""
    height, width = pixels.shape[:2]
    w, h = round(width * rng.uniform(0.3, 0.8)), round(height * rng.uniform(0.2, 0.6))
    x, y = int(rng.integers(0, width - w)), int(rng.integers(0, height - h))
    pixels[y : y + h, x : x + w] = coloured(cloud(rng, w, h, 25), any_colour(rng), any_colour(rng))


def _box(rng: Random) -> Face:
    """The lid of a box or a book: fields of strong colours, a title."""
    width, height = float(rng.uniform(120, 330)), float(rng.uniform(160, 420))
    w, h = round(width * 0.7), round(height * 0.7)
    pixels = coloured(cloud(rng, w, h, w / 3), any_colour(rng), any_colour(rng))
    for _ in range(int(rng.integers(1, 7))):
        a, b = rng.uniform(-0.1, 1.0, 2) * (w, h), rng.uniform(0.05, 0.5, 2) * (w, h)
        colour = (rng.uniform(0, 255, 3)).tolist()
        if rng.random() < 0.6:
            cv2.rectangle(pixels, np.round(a).astype(int).tolist(), np.round(a + b).astype(int).tolist(), colour, -1)
        else:
            cv2.circle(pixels, np.round(a).astype(int).tolist(), round(b.min() / 2), colour, -1, cv2.LINE_AA)
    if rng.random() < 0.6:
        _write(rng, pixels[h // 8 : h // 3])
    return make_face(pixels, width, height, float(rng.uniform(0.5, 6)))


def _disc(rng: Random) -> Face:
    """A coin, a poker chip or a saucer."""
    size = float(rng.uniform(60, 220))
    n = round(size)
    first, second = any_colour(rng), any_colour(rng, 60, 250)
    pixels = coloured(cloud(rng, n, n, n / 2), first * 0.85, first * 1.1)
    for share in (0.42, 0.32):
        cv2.circle(pixels, (n // 2, n // 2), round(n * share), second.tolist(), max(1, n // 30), cv2.LINE_AA)
    if rng.random() < 0.5:
        for start in range(0, 360, 60):
            arc: Points = ellipse((n / 2, n / 2), (n * 0.46, n * 0.46), start, start + 25)
            cv2.polylines(pixels, [np.round(arc).astype(np.int32)], False, second.tolist(), max(2, n // 12))
    return make_face(pixels, size, size, size / 2)


def _pen(rng: Random) -> Face:
    """A pen or a stick: long, thin, shaded like something round."""
    width, height = float(rng.uniform(16, 34)), float(rng.uniform(250, 420))
    shade = np.sin(np.linspace(0.25, 2.6, round(width)))[None, :, None]
    base = np.tile(any_colour(rng), (round(height), 1, 1))
    base[: round(height * rng.uniform(0.05, 0.35))] = any_colour(rng)
    pixels = np.clip(base * (0.35 + 0.8 * shade), 0, 255).astype(np.uint8)
    return make_face(pixels, width, height, width / 2)
