"""Moments made by hand for tests of outputs."""

from __future__ import annotations

import numpy as np

from apps.moment import Count, Event, Figures, Moment
from runtime.detections import Detections
from runtime.frame import Frame
from tests.conftest import picture

LABELS = ("person", "cat", "dog")


def event(number: int = 1, shape: str = "door") -> Event:
    """A person who came in through a door."""
    return Event(number, 1.7e9, "line", shape, "in", "person", 7, 0.9, (1.0, 2.0, 30.0, 40.0))


def moment(
    number: int = 1,
    class_ids: tuple[int, ...] = (0, 2),
    counts: tuple[Count, ...] = (),
    events: tuple[Event, ...] = (),
) -> Moment:
    """A picture of 160 x 120 pixels with one box per class, side by side."""
    boxes = [[10 + 40 * i, 20, 40 + 40 * i, 90] for i in range(len(class_ids))]
    found = Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.full(len(class_ids), 0.9, np.float32),
        np.array(class_ids, np.int32),
    )
    frame = Frame(picture(number, 160, 120), "bgr", "made", number)
    return Moment(number, frame, found, LABELS, Figures(12.5, 80.0, 3, number, 51.0, ()), counts, events)
