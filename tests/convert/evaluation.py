"""Made detections and truths for the tests of evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from convert.data import Dataset, Truth
from convert.evaluate.detection import Prediction
from runtime.detections import Detections

LABELS = ("wren", "robin", "finch")
SIDE = 100

Box = tuple[float, float, float, float]
# Score, class, box; class, box.
Found = tuple[float, int, Box]
Object = tuple[int, Box]


def detections(rows: Sequence[Found]) -> Detections:
    """From rows, best first."""
    rows = sorted(rows, reverse=True)
    boxes = np.array([row[2] for row in rows], np.float32).reshape(-1, 4)
    return Detections(boxes, np.array([r[0] for r in rows], np.float32), np.array([r[1] for r in rows], np.int32))


def truths(*images: Sequence[Object], side: int = SIDE, labels: tuple[str, ...] = LABELS) -> Dataset:
    """Boxes in pixels of square pictures."""
    made = [
        Truth(
            Path(f"{index}.png"),
            np.array([box for _, box in rows], np.float32).reshape(-1, 4) / np.float32(side),
            np.array([class_id for class_id, _ in rows], np.int32),
        )
        for index, rows in enumerate(images)
    ]
    return Dataset("made", tuple(made), labels)


def predictions(*images: Sequence[Found], side: int = SIDE) -> list[Prediction]:
    return [Prediction(detections(rows), side, side) for rows in images]


def random_set(
    pictures: int, classes: int, seed: int, objects: int = 7, junk: int = 10, shift: float = 6.0
) -> tuple[list[Prediction], Dataset]:
    """Pictures with about so many objects, most of them found more or less well, and false detections.

    No two scores are equal.
    """
    random = np.random.default_rng(seed)
    scores = iter(random.permutation(np.linspace(0.01, 0.99, pictures * (objects + junk))).tolist())
    all_found, all_objects = [], []
    for _ in range(pictures):
        there = [random_object(random, classes) for _ in range(int(random.integers(0, objects + 1)))]
        found: list[Found] = []
        for class_id, box in there:
            if random.uniform() < 0.7:
                moved = np.array(box) + random.normal(0, shift, 4)
                x1, y1 = np.clip(moved[:2], 0, 380)
                x2, y2 = np.clip(moved[2:], [x1 + 4, y1 + 4], 400)
                found.append((next(scores), class_id, (x1, y1, x2, y2)))
        wrong = int(random.integers(0, junk + 1))
        found += [(next(scores), *random_object(random, classes)) for _ in range(wrong)]
        all_found.append(found)
        all_objects.append(there)
    labels = tuple(f"class{number}" for number in range(classes))
    return predictions(*all_found, side=400), truths(*all_objects, side=400, labels=labels)


def random_object(random: np.random.Generator, classes: int) -> Object:
    x, y = random.uniform(0, 300, 2)
    w, h = random.uniform(10, 100, 2)
    # Few classes are common, as in real pictures.
    return int(classes * random.uniform() ** 2), (x, y, x + w, y + h)
