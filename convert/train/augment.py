"""Changing training pictures so that a net learns the objects and not the photographs.

Geometry is one affine warp per picture (quarter turn, flip, zoom, aspect, shift), so that pixels are resampled once.
Boxes are cut at the border as the eye would: what remains is labelled while enough of it is left, and of objects cut
further the net is asked nothing. Colours change in one table per channel.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Example:
    """One training picture.

    Attributes:
        pixels: ``(h, w, 3)`` uint8, blue, green, red.
        boxes: ``(n, 4)`` float32, corners in pixels.
        class_ids: ``(n,)`` int32.
        ignored: ``(n,)``; the net is asked nothing about these.
    """

    pixels: Pixels
    boxes: Floats
    class_ids: npt.NDArray[np.int32]
    ignored: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Augmentation:
    """How far pictures are changed; all ranges are drawn from anew for every picture.

    Attributes:
        zoom: Smallest and largest magnification, drawn evenly on a logarithmic scale.
        aspect: Largest stretch of one side against the other.
        shift: Largest displacement, as a share of the picture.
        turn: Whether quarter turns are allowed.
        flip: Whether mirror images are allowed; not for things with writing on them.
        mosaic: Share of pictures put together from four.
        colour: Strength of brightness, contrast, gamma and tint changes.
        blur, noise: Share of pictures that are blurred, or made noisy.
        keep: Share of an object's area that must be left inside the picture for it to count.
        smallest: Side of an object, as a share of the network's input, below which the net is asked nothing about it.
    """

    zoom: tuple[float, float] = (0.7, 1.5)
    aspect: float = 1.25
    shift: float = 0.15
    turn: bool = False
    flip: bool = True
    mosaic: float = 0.3
    colour: float = 0.3
    blur: float = 0.1
    noise: float = 0.1
    keep: float = 0.5
    smallest: float = 0.0


Draw = Callable[[np.random.Generator], Example]


def augment(draw: Draw, size: int, how: Augmentation, random: np.random.Generator) -> Example:
    """One training picture of ``size`` by ``size`` pixels.

    Args:
        draw: Gives a picture; called once, or four times for a mosaic.
        size: Side of the network's input.
        how: What may change.
        random: The only source of chance.
    """
    if random.random() < how.mosaic:
        example = _mosaic(draw, size, how, random)
    else:
        example = _warp(draw(random), size, size, how, random)
    ignored = example.ignored | (np.sqrt(_areas(example.boxes)) < how.smallest * size)
    return Example(_recolour(example.pixels, how, random), example.boxes, example.class_ids, ignored)


def _mosaic(draw: Draw, size: int, how: Augmentation, random: np.random.Generator) -> Example:
    """Parts of four pictures around a random middle (Bochkovskiy et al., arXiv:2004.10934, section 3.3)."""
    # Pieces, not miniatures: things keep about the size they have in a picture of their own.
    how = dataclasses.replace(how, zoom=(1.5 * how.zoom[0], 1.5 * how.zoom[1]))
    x, y = (int(value) for value in random.uniform(0.3, 0.7, 2) * size)
    canvas = np.empty((size, size, 3), np.uint8)
    parts = []
    for left, top, right, bottom in ((0, 0, x, y), (x, 0, size, y), (0, y, x, size), (x, y, size, size)):
        part = _warp(draw(random), right - left, bottom - top, how, random)
        canvas[top:bottom, left:right] = part.pixels
        parts.append(
            Example(part.pixels, part.boxes + np.array([left, top] * 2, np.float32), part.class_ids, part.ignored)
        )
    return Example(
        canvas,
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.class_ids for part in parts]),
        np.concatenate([part.ignored for part in parts]),
    )


def _warp(example: Example, width: int, height: int, how: Augmentation, random: np.random.Generator) -> Example:
    """Quarter turn, flip, stretch to the new size, then zoom, aspect and shift around the middle."""
    matrix = _matrix(example.pixels.shape[1], example.pixels.shape[0], width, height, how, random)
    pixels, reduced = _halved(example.pixels, matrix)
    # Whole numbers are the edges of pixels for boxes, and their middles for OpenCV.
    reduced[:, 2] += reduced[:, :2] @ [0.5, 0.5] - 0.5
    pixels = cv2.warpAffine(
        pixels,
        reduced,
        (width, height),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=[int(value) for value in random.integers(0, 256, 3)],
    )
    boxes = _move(example.boxes, matrix)
    clipped = np.clip(boxes, 0, np.array([width, height] * 2, np.float32)).astype(np.float32)
    left = _areas(clipped) / np.maximum(_areas(boxes), 1e-6)
    there = (left > 0.05) & (clipped[:, 2] - clipped[:, 0] >= 2) & (clipped[:, 3] - clipped[:, 1] >= 2)
    ignored = example.ignored | (left < how.keep)
    return Example(np.asarray(pixels, np.uint8), clipped[there], example.class_ids[there], ignored[there])


def _matrix(
    width: int, height: int, to_width: int, to_height: int, how: Augmentation, random: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Affine map ``(2, 3)`` from picture to target pixels."""
    linear = np.eye(2)
    if how.turn:
        quarters = int(random.integers(4))
        cosine, sine = ((1, 0), (0, 1), (-1, 0), (0, -1))[quarters]
        linear = np.array([[cosine, -sine], [sine, cosine]], np.float64)
    if how.flip and random.random() < 0.5:
        linear[0] *= -1
    turned = np.abs(linear) @ [width, height]
    zoom = np.exp(random.uniform(np.log(how.zoom[0]), np.log(how.zoom[1])))
    aspect = np.exp(random.uniform(-1, 1) * np.log(how.aspect) / 2)
    scale = np.array([to_width, to_height]) / turned * zoom * [aspect, 1 / aspect]
    linear = scale[:, None] * linear
    room = np.maximum(how.shift, np.abs(zoom - 1) / 2)
    middle = np.array([to_width, to_height]) * (0.5 + random.uniform(-room, room, 2))
    return np.column_stack([linear, middle - linear @ [width / 2, height / 2]])


def _halved(pixels: Any, matrix: npt.NDArray[np.float64]) -> tuple[Any, npt.NDArray[np.float64]]:
    """Averages two by two pixels as long as the warp would skip every other one."""
    matrix = matrix.copy()
    while abs(np.linalg.det(matrix[:, :2])) < 0.25 and min(pixels.shape[:2]) > 32:
        before = pixels.shape[1::-1]
        pixels = cv2.resize(pixels, (before[0] // 2, before[1] // 2), interpolation=cv2.INTER_AREA)
        matrix[:, :2] *= np.array(before) / np.array(pixels.shape[1::-1])
    return pixels, matrix


def _move(boxes: Floats, matrix: npt.NDArray[np.float64]) -> Floats:
    """Boxes under a map whose turns are multiples of 90 degrees."""
    first = boxes[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    second = boxes[:, 2:] @ matrix[:, :2].T + matrix[:, 2]
    return np.concatenate([np.minimum(first, second), np.maximum(first, second)], axis=1).astype(np.float32)


def _areas(boxes: Floats) -> Floats:
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    return np.asarray(sides[:, 0] * sides[:, 1], np.float32)


def _recolour(pixels: Pixels, how: Augmentation, random: np.random.Generator) -> Pixels:
    """Contrast, brightness, gamma and a tint in one table per channel, then saturation, blur and noise."""
    strength = how.colour
    if strength:
        ramp = np.linspace(0, 1, 256)[:, None] ** np.exp(random.uniform(-1, 1) * strength)
        contrast = np.exp(random.uniform(-1, 1) * strength)
        tint = np.exp(random.uniform(-0.5, 0.5, 3) * strength)
        shift = random.uniform(-0.5, 0.5) * strength
        table = np.clip(((ramp - 0.5) * contrast + 0.5 + shift) * tint * 255, 0, 255).astype(np.uint8)[None]
        pixels = np.asarray(cv2.LUT(pixels, table), np.uint8)
        if random.random() < 0.5:
            grey = cv2.cvtColor(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
            mix = random.uniform(1 - strength, 1 + strength)
            pixels = np.asarray(cv2.addWeighted(pixels, mix, grey, 1 - mix, 0), np.uint8)
    if random.random() < how.blur:
        pixels = np.asarray(cv2.GaussianBlur(pixels, (0, 0), random.uniform(0.5, 1.5)), np.uint8)
    if random.random() < how.noise:
        noise = random.normal(0, random.uniform(2, 10), pixels.shape)
        pixels = np.clip(pixels + noise, 0, 255).astype(np.uint8)
    return pixels
