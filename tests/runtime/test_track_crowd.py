"""Many cards that hide each other: how well tracks hold there. ``docs/tracking.md`` compares with other trackers."""

from __future__ import annotations

import re

import numpy as np
import pytest

from runtime.nms import iou_matrix
from runtime.track import Tracker, TrackOptions
from tests.conftest import ROOT
from tests.crowd import between, crowd, detected, drifting


def switches(options: TrackOptions, missed: float, jitter: float) -> tuple[int, float]:
    """How often a card's track is another than before, and the share of cards that have one."""
    tracker = Tracker(options)
    last: dict[int, int] = {}
    changes, found_cards, cards = 0, 0, 0
    for truth, found in detected(crowd(5, count=12, seconds=8), 5, missed=missed, jitter=jitter):
        tracks = tracker.update(found, truth.seconds).confirmed()
        overlap = iou_matrix(truth.boxes, tracks.boxes)
        cards += len(truth.boxes)
        for row, column in zip(*(overlap > 0.5).nonzero(), strict=True):
            if overlap[row, column] == overlap[row].max() == overlap[:, column].max():
                card, name = int(truth.identities[row]), int(tracks.track_ids[column])
                changes += last.get(card, name) != name
                last[card] = name
                found_cards += 1
    return changes, found_cards / cards


def test_tracks_hold_in_a_crowd() -> None:
    """Ids change rarely, and less often than with association that knows no lost tracks."""
    changes, share = switches(TrackOptions(), 0.1, 0.04)
    assert share > 0.8
    without, _ = switches(TrackOptions(keep_lost=0.04), 0.1, 0.04)
    assert changes < 0.5 * without
    calm, share = switches(TrackOptions(), 0.0, 0.01)
    assert calm <= changes
    assert share > 0.93


@pytest.mark.parametrize("every", [3, 6])
def test_predicted_boxes_fit_better_than_the_last_ones(every: int) -> None:
    predicted, held = between(detected(crowd(6, count=10, seconds=6), 6), every)
    assert predicted > held + 0.03


def test_fifty_objects_have_fifty_ids() -> None:
    """A tenth is missed in every frame, and none of that ends a track: only crossings without a detection can."""
    tracker = Tracker(TrackOptions(high_score=0.3))
    names: set[int] = set()
    for step, found in enumerate(drifting(3, frames=300)):
        names |= set(tracker.update(found, step / 30).confirmed().track_ids.tolist())
    assert 50 <= len(names) <= 55
    assert len(tracker) <= 55


def test_scenes_repeat() -> None:
    first, second = (list(detected(crowd(1, count=5, seconds=0.5), 1)) for _ in range(2))
    for (truth, found), (again, other) in zip(first, second, strict=True):
        np.testing.assert_array_equal(truth.boxes, again.boxes)
        np.testing.assert_array_equal(found.boxes, other.boxes)


def test_the_example_of_the_documentation(capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "docs" / "tracking.md").read_text()
    found = re.search(r"```python\n(.*?)```\n\n```\n(.*?)```", text, re.DOTALL)
    assert found
    exec(found[1], {})
    assert capsys.readouterr().out == found[2]
