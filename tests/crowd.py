"""A table full of cards that move across each other, as truth with identities, and as what a detector would see."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from runtime.detections import Detections
from runtime.nms import iou_matrix
from runtime.scenes.deck import Face, rounded
from runtime.scenes.layout import Item, camera, label, placed
from runtime.scenes.motion import Wave
from runtime.scenes.sheet import HEIGHT, WIDTH
from runtime.track import Tracker

_CORNER = 12.0


@dataclass(frozen=True)
class Truth:
    """One frame.

    Attributes:
        seconds: Its capture time.
        boxes: ``(n, 4)`` float32 ``x1, y1, x2, y2`` in pixels, around what is seen of each card; a card of which less
            than half is seen has none.
        identities: ``(n,)`` int32.
        visible: ``(n,)`` float32, share 0.5..1.
    """

    seconds: float
    boxes: npt.NDArray[np.float32]
    identities: npt.NDArray[np.int32]
    visible: npt.NDArray[np.float32]


@dataclass(frozen=True)
class _Card:
    home: tuple[float, float]
    drift: tuple[Wave, Wave, Wave]  # x, y in pixels, angle in degrees
    angle: float
    first: float  # seconds
    last: float


def crowd(
    seed: int, count: int = 20, seconds: float = 30.0, fps: float = 30.0, width: int = 640, height: int = 360
) -> Iterator[Truth]:
    """Frames of ``count`` cards under a swaying camera; a quarter of them come late or leave early.

    Cards wander on sums of sines around homes anywhere on the table, at up to about two card widths per second, over
    and under each other: occlusions are as common as on a busy street.
    """
    rng = np.random.default_rng([seed, count, width, height])
    zoom = 0.42 * float(np.sqrt(width * height / count / (WIDTH * HEIGHT)))
    cards = [_card(rng, seconds, width / zoom, height / zoom) for _ in range(count)]
    sway = [Wave.drawn(rng, reach, 7) for reach in (6.0, 14.0, 4.0)]
    face, nothing = Face((), WIDTH, HEIGHT, rounded(WIDTH, HEIGHT, _CORNER)), np.empty((height, width, 3), np.uint8)
    for index in range(round(seconds * fps)):
        time = index / fps
        tilt, towards, roll = (wave.at(time) for wave in sway)
        view = camera(width, height, 15 + tilt, 90 + towards, roll, zoom)
        items = []
        for identity, card in enumerate(cards):
            if card.first <= time < card.last:
                x, y, angle = (wave.at(time) for wave in card.drift)
                matrix = view @ placed(face, (card.home[0] + x, card.home[1] + y), 1.0, card.angle + angle)
                # The label of a card is its class; here it says which card it is.
                items.append(Item(face, matrix, identity))
        scene = label(nothing, items)
        yield Truth(time, scene.boxes, scene.class_ids, scene.visible)


def _card(rng: np.random.Generator, seconds: float, width: float, height: float) -> _Card:
    x, y = rng.uniform(-0.4, 0.4, 2) * (width, height)
    drift = (Wave.drawn(rng, 0.35 * width, 4), Wave.drawn(rng, 0.35 * height, 4), Wave.drawn(rng, 70, 5))
    first = float(rng.uniform(0, 0.4 * seconds)) if rng.random() < 0.25 else 0.0
    last = float(rng.uniform(0.6, 1) * seconds) if rng.random() < 0.25 else seconds
    return _Card((float(x), float(y)), drift, float(rng.uniform(0, 360)), first, last)


def detected(
    truth: Iterator[Truth], seed: int, missed: float = 0.1, jitter: float = 0.04, false: float = 1.0, classes: int = 1
) -> Iterator[tuple[Truth, Detections]]:
    """What a middling detector makes of it.

    Args:
        truth: Frames of :func:`crowd`.
        seed: Of all that is random.
        missed: Share of the boxes that are not found, four times as many where only half of a card is seen.
        jitter: Standard deviation of each of middle and size, relative to the square root of the box's area.
        false: False boxes per frame on average.
        classes: Cards are shared out to so many classes; false boxes have any.
    """
    rng = np.random.default_rng([seed, 1])
    for frame in truth:
        found = rng.random(len(frame.boxes)) >= missed * (1 + 6 * (1 - frame.visible))
        true = _shaken(rng, frame.boxes[found], jitter)
        # Half covered is half sure.
        scores = 0.95 - 0.9 * (1 - frame.visible[found]) + rng.normal(0, 0.1, int(found.sum()))
        extra = _anywhere(rng, int(rng.poisson(false)), frame.boxes)
        boxes = np.concatenate([true, extra]).astype(np.float32)
        scores = np.concatenate([scores, rng.uniform(0.05, 0.7, len(extra))]).clip(0.05, 0.99)
        ids = np.concatenate([frame.identities[found] % classes, rng.integers(0, classes, len(extra))])
        order = np.argsort(-scores, kind="stable")
        yield frame, Detections(boxes[order], scores[order].astype(np.float32), ids[order].astype(np.int32))


def _shaken(rng: np.random.Generator, boxes: npt.NDArray[np.float32], jitter: float) -> npt.NDArray[np.float64]:
    size = boxes[:, 2:] - boxes[:, :2]
    unit = np.sqrt(size.prod(axis=1, keepdims=True))
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2 + rng.normal(0, jitter, size.shape) * unit
    size = np.maximum(size + rng.normal(0, jitter, size.shape) * unit, 0.2 * size)
    return np.concatenate([middle - size / 2, middle + size / 2], axis=1).astype(np.float64)


def _anywhere(rng: np.random.Generator, count: int, boxes: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Boxes of the sizes there are, where nothing is."""
    if not len(boxes):
        return np.zeros((0, 4))
    size = (boxes[:, 2:] - boxes[:, :2])[rng.integers(0, len(boxes), count)]
    corner = rng.uniform(0, 1, (count, 2)) * (boxes[:, 2:].max(axis=0) - size)
    return np.concatenate([corner, corner + size], axis=1)


def drifting(seed: int, count: int = 50, frames: int = 600, missed: float = 0.1) -> Iterator[Detections]:
    """Boxes that drift over a picture of 1920x1080 and turn back at its edges, 30 frames a second: work for a clock.

    Args:
        seed: Of everything.
        count: Number of objects; all are always in the picture.
        frames: Length.
        missed: Share of the boxes that are not found.
    """
    rng = np.random.default_rng([seed, 2])
    sides = np.array([1920.0, 1080.0])
    middle, speed = rng.uniform(0, sides, (count, 2)), rng.uniform(-150, 150, (count, 2))
    size = rng.uniform(40, 120, (count, 2))
    for _ in range(frames):
        middle += speed / 30
        speed = np.where((middle < 0) & (speed < 0) | (middle > sides) & (speed > 0), -speed, speed)
        found = rng.random(count) >= missed
        corners = np.concatenate([middle - size / 2, middle + size / 2], axis=1)[found]
        boxes = _shaken(rng, corners.astype(np.float32), 0.03).astype(np.float32)
        scores = -np.sort(-rng.uniform(0.3, 1, len(boxes))).astype(np.float32)
        yield Detections(boxes, scores, np.zeros(len(boxes), np.int32))


def between(frames: Iterator[tuple[Truth, Detections]], every: int) -> tuple[float, float]:
    """How well boxes fit in frames that nothing was detected in.

    Args:
        frames: Of :func:`detected`.
        every: The detector sees one frame of so many.

    Returns:
        Mean overlap with the truth, for cards that had a confirmed track in the last update: of the boxes that
        :meth:`Tracker.predict` gives, and of those of that update.
    """
    tracker = Tracker()
    sums, count = np.zeros(2), 0
    held, owner = np.zeros((0, 4), np.float32), np.zeros(0, np.int32)
    for index, (truth, found) in enumerate(frames):
        if index % every == 0:
            held = tracker.update(found, truth.seconds).confirmed().boxes
            overlap = iou_matrix(held, truth.boxes)
            owner = np.where(overlap.max(axis=1) >= 0.5, truth.identities[overlap.argmax(axis=1)], -1)
        else:
            track, place = (owner[:, None] == truth.identities).nonzero()
            for at, boxes in enumerate((tracker.predict(truth.seconds).confirmed().boxes, held)):
                sums[at] += iou_matrix(boxes, truth.boxes)[track, place].sum()
            count += len(track)
    return float(sums[0] / count), float(sums[1] / count)
