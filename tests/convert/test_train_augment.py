"""Boxes must follow the pixels: each object is painted alone, and its box compared with what is seen of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from convert.train.augment import Augmentation, Example, augment

STILL: dict[str, Any] = {
    "zoom": (1.0, 1.0),
    "aspect": 1.0,
    "shift": 0.0,
    "flip": False,
    "mosaic": 0.0,
    "colour": 0.0,
    "blur": 0.0,
    "noise": 0.0,
}
CHANGES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "turn": {"turn": True},
    "flip": {"flip": True},
    "zoom in": {"zoom": (1.4, 2.2)},
    "zoom out": {"zoom": (0.3, 0.8)},
    "aspect": {"aspect": 1.8},
    "shift": {"shift": 0.4},
    "mosaic": {"mosaic": 1.0},
    "all": {"turn": True, "flip": True, "zoom": (0.5, 1.8), "aspect": 1.4, "shift": 0.2},
    "all in mosaics": {"turn": True, "flip": True, "zoom": (0.5, 1.8), "aspect": 1.4, "shift": 0.2, "mosaic": 1.0},
}


@dataclass
class Board:
    """Black pictures with white rectangles; the class of an object is its number over all pictures.

    Attributes:
        width, height: Of the pictures.
        seed: Of the rectangles.
        only: The one object that is painted, the others are only labelled.
        calls: Pictures drawn so far.
    """

    width: int
    height: int
    seed: int
    only: int = -1
    calls: int = 0
    count: int = 3
    boxes: list[np.ndarray] = field(default_factory=list)

    def __call__(self, random: np.random.Generator) -> Example:
        shapes = np.random.default_rng([self.seed, self.calls])
        low = (shapes.uniform(0, 0.6, (self.count, 2)) * [self.width, self.height]).astype(int)
        size = (shapes.uniform(0.15, 0.4, (self.count, 2)) * [self.width, self.height]).astype(int)
        boxes = np.concatenate([low, low + size], axis=1).astype(np.float32)
        pixels = np.zeros((self.height, self.width, 3), np.uint8)
        numbers = np.arange(self.count, dtype=np.int32) + self.count * self.calls
        if self.only in numbers:
            x1, y1, x2, y2 = boxes[self.only - numbers[0]].astype(int)
            pixels[y1:y2, x1:x2] = 255
        self.boxes += list(boxes)
        self.calls += 1
        return Example(pixels, boxes, numbers, np.zeros(self.count, np.bool_))


def render(size: tuple[int, int], seed: int, how: Augmentation, to: int, only: int = -1) -> Example:
    return augment(Board(*size, seed, only), to, how, np.random.default_rng(seed))


def seen(size: tuple[int, int], seed: int, how: Augmentation, to: int, number: int) -> np.ndarray:
    """How much of every pixel an object covers, 0..1."""
    empty, painted = render(size, seed, how, to), render(size, seed, how, to, number)
    # The border has any colour, and the object covers none of it.
    ratio = (painted.pixels.astype(float) - empty.pixels).max(axis=2) / 255
    return np.asarray(np.clip(ratio, 0, 1))


def extent(cover: np.ndarray) -> list[float]:
    rows, columns = np.flatnonzero((cover >= 0.5).any(1)), np.flatnonzero((cover >= 0.5).any(0))
    return [float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)]


@pytest.mark.parametrize("size", [(160, 120), (121, 187), (430, 300)])
@pytest.mark.parametrize("name", CHANGES)
def test_boxes_follow_the_pixels(name: str, size: tuple[int, int]) -> None:
    how, to, middles = Augmentation(**STILL | CHANGES[name]), 128, []
    for seed in range(8):
        example = render(size, seed, how, to)
        assert example.pixels.shape == (to, to, 3)
        assert example.boxes.dtype == np.float32
        assert len(example.boxes) == len(example.class_ids) == len(example.ignored)
        for box, number in zip(example.boxes, example.class_ids.tolist(), strict=True):
            cover = seen(size, seed, how, to, number)
            np.testing.assert_allclose(box, extent(cover), atol=0.8)
            if box.min() > 1 and box.max() < to - 1 and "mosaic" not in name:
                across, down = cover.sum(0) / cover.sum(), cover.sum(1) / cover.sum()
                middle = [(across * (np.arange(to) + 0.5)).sum(), (down * (np.arange(to) + 0.5)).sum()]
                middles.append((box[:2] + box[2:]) / 2 - middle)
    # Edges are rounded to pixels above; a shift of all boxes against all pixels shows in the centres of mass.
    if middles:
        np.testing.assert_allclose(np.mean(middles, axis=0), 0, atol=0.1)
        np.testing.assert_allclose(middles, 0, atol=0.4)
    assert middles or "mosaic" in name or name == "zoom in"


@pytest.mark.parametrize("zoom", [1.0, 2.5, 0.5])
@pytest.mark.parametrize("keep", [0.3, 0.5, 0.9])
def test_what_is_cut_too_far_is_ignored(keep: float, zoom: float) -> None:
    how = Augmentation(**STILL | {"shift": 0.5, "zoom": (zoom, zoom), "keep": keep})
    size, to, counts = (160, 120), 128, [0, 0, 0]
    for seed in range(40):
        board = Board(*size, seed)
        example = augment(board, to, how, np.random.default_rng(seed))
        state = dict(zip(example.class_ids.tolist(), example.ignored.tolist(), strict=True))
        for number, (x1, y1, x2, y2) in enumerate(board.boxes):
            whole = (x2 - x1) * (y2 - y1) * (to / size[0] * zoom) * (to / size[1] * zoom)
            left = seen(size, seed, how, to, number).sum() / whole
            if left > keep + 0.05:
                assert state[number] is False
                counts[0] += 1
            elif 0.1 < left < keep - 0.05:
                assert state[number] is True
                counts[1] += 1
            elif left < 0.01:
                assert number not in state
                counts[2] += 1
    assert counts[0] > 0
    assert counts[1] > 0 or zoom < 1
    assert counts[2] > 0 or zoom <= 1


def test_ignored_objects_stay_ignored() -> None:
    how = Augmentation(**STILL | {"mosaic": 1.0})

    def draw(random: np.random.Generator) -> Example:
        return Example(
            np.zeros((90, 90, 3), np.uint8),
            np.array([[20, 20, 70, 70]], np.float32),
            np.array([1], np.int32),
            np.array([True]),
        )

    assert augment(draw, 96, how, np.random.default_rng(0)).ignored.tolist() == [True] * 4


def colourful(random: np.random.Generator) -> Example:
    pixels = random.integers(0, 256, (90, 110, 3)).astype(np.uint8)
    low = random.uniform(0, 60, (5, 2))
    boxes = np.concatenate([low, low + random.uniform(2, 40, (5, 2))], axis=1).astype(np.float32)
    return Example(pixels, boxes, np.arange(5, dtype=np.int32), np.zeros(5, np.bool_))


WILD = Augmentation(zoom=(0.2, 3.0), turn=True, shift=0.5, mosaic=0.5, colour=0.8, blur=0.5, noise=0.5)


def test_same_chance_same_picture() -> None:
    for seed in range(10):
        first, other, third = (augment(colourful, 64, WILD, np.random.default_rng(s)) for s in (seed, seed, seed + 50))
        for name in ("pixels", "boxes", "class_ids", "ignored"):
            np.testing.assert_array_equal(getattr(first, name), getattr(other, name))
        assert (first.pixels != third.pixels).any()


def test_no_box_is_empty_or_outside() -> None:
    total = 0
    for seed in range(150):
        example = augment(colourful, 64, WILD, np.random.default_rng(seed))
        assert (example.boxes >= 0).all()
        assert (example.boxes <= 64).all()
        assert (example.boxes[:, 2:] - example.boxes[:, :2] >= 2).all()
        assert example.pixels.dtype == np.uint8
        assert [str(array.dtype) for array in (example.class_ids, example.ignored)] == ["int32", "bool"]
        total += len(example.boxes)
    assert total > 150


def test_picture_without_objects() -> None:
    def draw(random: np.random.Generator) -> Example:
        none = np.empty((0, 4), np.float32)
        return Example(np.full((50, 40, 3), 9, np.uint8), none, np.empty(0, np.int32), np.empty(0, np.bool_))

    for seed in range(6):
        example = augment(draw, 64, WILD, np.random.default_rng(seed))
        assert example.boxes.shape == (0, 4)
        assert example.class_ids.shape == example.ignored.shape == (0,)


def test_colours_change_and_geometry_does_not() -> None:
    how = Augmentation(**STILL | {"colour": 0.5, "blur": 0.5, "noise": 0.5})
    example = render((128, 128), 3, how, 128)
    plain = render((128, 128), 3, Augmentation(**STILL), 128)
    np.testing.assert_array_equal(example.boxes, plain.boxes)
    pictures = [augment(colourful, 64, how, np.random.default_rng(seed)).pixels.mean() for seed in range(20)]
    assert np.std(pictures) > 5
