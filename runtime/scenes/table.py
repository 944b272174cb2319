"""What lies below the cards: wood, cloth, felt, carpet, stone, plain colours, all made from noise."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from runtime.scenes.sheet import Pixels

Field = npt.NDArray[np.float32]
Random = np.random.Generator


def cloud(rng: Random, width: int, height: int, cell: float) -> Field:
    """Smooth noise with features about ``cell`` pixels wide, ``(height, width)`` float32 0..1."""
    small = rng.random((max(2, round(height / cell) + 2), max(2, round(width / cell) + 2)), np.float32)
    return np.clip(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), 0, 1).astype(np.float32)


def grain(rng: Random, width: int, height: int) -> Field:
    """Independent noise per pixel, ``(height, width)`` float32 0..1."""
    return rng.integers(0, 256, (height, width), np.uint8).astype(np.float32) / np.float32(255)


def coloured(field: Field, dark: npt.ArrayLike, bright: npt.ArrayLike) -> Pixels:
    """A field 0..1 as a picture between two BGR colours."""
    steps = np.linspace(0, 1, 256)[:, None]
    table = np.clip(np.asarray(dark) * (1 - steps) + np.asarray(bright) * steps, 0, 255).astype(np.uint8)
    index = (np.clip(field, 0, 1) * 255).astype(np.uint8)
    return np.asarray(cv2.LUT(cv2.merge([index, index, index]), table[None].copy()), np.uint8)


def any_colour(rng: Random, low: float = 20, high: float = 230) -> npt.NDArray[np.float64]:
    """A random BGR colour, mostly a dull or warm one, as most things are."""
    grey = rng.uniform(low, high)
    strength = 75 * rng.uniform(0.05, 1) ** 2
    return np.clip(grey + rng.uniform((-1.35, -1, -0.75), (0.65, 1, 1.25)) * strength, 0, 255)


def wood(rng: Random, width: int, height: int) -> Pixels:
    """Boards with grain along them."""
    if rng.random() < 0.5:
        return np.ascontiguousarray(_boards(rng, height, width).transpose(1, 0, 2))
    return _boards(rng, width, height)


def _boards(rng: Random, width: int, height: int) -> Pixels:
    across = np.arange(height, dtype=np.float32)[:, None] / np.float32(max(width, height))
    bend = cv2.resize(cloud(rng, max(2, width // 8), height, height / 9), (width, height))
    rings = np.sin((across * rng.uniform(25, 70) + bend * rng.uniform(6, 16)) * np.float32(2 * np.pi))
    fibre = cv2.resize(grain(rng, max(2, width // 14), height), (width, height))
    field = 0.45 + 0.16 * rings + 0.35 * (fibre - 0.5) + 0.25 * (cloud(rng, width, height, width / 4) - 0.5)
    boards = int(rng.integers(1, 7))
    number = np.minimum((across * max(width, height) / height * boards).astype(int), boards - 1)
    field = field + rng.uniform(-0.14, 0.14, boards).astype(np.float32)[number]
    edges = np.flatnonzero(np.diff(number[:, 0]))
    field[edges] *= 0.25
    field[np.minimum(edges + 1, height - 1)] *= 0.6
    tone = rng.uniform(0.35, 1.15)
    dark = np.array([30, 52, 92]) * tone * rng.uniform(0.6, 1.0)
    return coloured(field.astype(np.float32), dark, np.array([105, 155, 205]) * tone)


def felt(rng: Random, width: int, height: int) -> Pixels:
    """A card table's cover."""
    base = np.array([(60, 105, 25), (120, 70, 25), (45, 35, 125), (70, 60, 55)][int(rng.integers(4))])
    base = base * rng.uniform(0.7, 1.3)
    fuzz = cv2.GaussianBlur(grain(rng, width, height), (3, 3), 0.7)
    field = 0.5 + 0.5 * (fuzz - 0.5) + 0.35 * (cloud(rng, width, height, width / 5) - 0.5)
    return coloured(field.astype(np.float32), base * 0.72, base * 1.25)


def cloth(rng: Random, width: int, height: int) -> Pixels:
    """A woven cover with folds, plain, striped or chequered."""
    x, y = (np.arange(count, dtype=np.float32) for count in (width, height))
    step = rng.uniform(2.5, 6)
    weave = 0.5 + 0.2 * np.outer(np.sin(y * 2 * np.pi / step), np.sin(x * 2 * np.pi / step))
    folds = cloud(rng, width, height, max(width, height) / rng.uniform(3, 9))
    field = (weave + 0.9 * (folds - 0.5)).astype(np.float32)
    first, second = any_colour(rng), any_colour(rng)
    picture = coloured(field, first * 0.6, first * 1.25)
    kind = rng.integers(3)
    if kind:
        period = max(width, height) / rng.uniform(4, 24)
        across, down = (x % period < period / 2)[None, :], (y % period < period / 2)[:, None]
        chosen = np.broadcast_to(across, (height, width)) if kind == 1 else across ^ down
        picture[chosen] = coloured(field, second * 0.6, second * 1.25)[chosen]
    return picture


def carpet(rng: Random, width: int, height: int) -> Pixels:
    """Tufts: strong noise a few pixels wide."""
    cell = max(width, height) / rng.uniform(120, 260)
    tufts = cloud(rng, width, height, max(1.5, cell))
    field = 0.15 + 0.7 * tufts + 0.25 * (cloud(rng, width, height, cell * 14) - 0.5)
    base = any_colour(rng, 60, 200)
    return coloured(field.astype(np.float32), base * 0.45, base * 1.2)


def stone(rng: Random, width: int, height: int) -> Pixels:
    """Mottled tiles with joints."""
    side = max(width, height)
    field = 0.5 * cloud(rng, width, height, side / 6) + 0.3 * cloud(rng, width, height, side / 30)
    field = field + 0.2 * cloud(rng, width, height, side / 150)
    base = any_colour(rng, 50, 200)
    picture = coloured(field.astype(np.float32), base * 0.55, base * 1.3)
    joint, period = any_colour(rng), side / rng.uniform(1.5, 6)
    shift = rng.uniform(0, period, 2)
    for start in np.arange(shift[0] - period, side + period, period):
        cv2.line(picture, (round(start), 0), (round(start + shift[1] / 9), height), joint.tolist(), max(1, side // 130))
        cv2.line(picture, (0, round(start + shift[1])), (width, round(start)), joint.tolist(), max(1, side // 130))
    return picture


def plain(rng: Random, width: int, height: int) -> Pixels:
    """One colour, or one that changes slowly into another."""
    first = any_colour(rng, 15, 245)
    second = any_colour(rng) if rng.random() < 0.3 else first * rng.uniform(0.8, 1.1)
    field = cloud(rng, width, height, max(width, height) / rng.uniform(1, 4))
    return coloured(field, first, second)


def marbled(rng: Random, width: int, height: int) -> Pixels:
    """Noise of several sizes in unrelated colours: nothing in particular."""
    side = max(width, height)
    layers = [cloud(rng, width, height, side / cell) for cell in rng.uniform(2, 60, 3)]
    mean, strength = rng.uniform(60, 190, 3), rng.uniform(30, 160)
    mixed = [
        np.clip(m + strength * (layer - 0.5), 0, 255).astype(np.uint8) for m, layer in zip(mean, layers, strict=True)
    ]
    return np.asarray(cv2.merge(mixed), np.uint8)


_KINDS: tuple[tuple[Callable[[Random, int, int], Pixels], float], ...] = (
    *((wood, 0.24), (felt, 0.13), (cloth, 0.17), (stone, 0.12), (plain, 0.12), (carpet, 0.17), (marbled, 0.05)),
)
_TIDY = 4  # so many of them are what people play on


def table(rng: Random, width: int, height: int, tidy: bool = False) -> Pixels:
    """A random table top, ``(height, width, 3)`` uint8 BGR; a ``tidy`` one is of a kind people play on."""
    kinds = _KINDS[:_TIDY] if tidy else _KINDS
    weights = np.array([weight for _, weight in kinds])
    kind = kinds[int(rng.choice(len(kinds), p=weights / weights.sum()))][0]
    return kind(rng, width, height)
