"""What viewers may change, and what is refused."""

from __future__ import annotations

import json
import re
import threading
from typing import Any

import pytest

from apps.settings import Chosen, Settings
from runtime.errors import InputError

LINE = {"name": "door", "kind": "line", "points": [[0, 0.5], [1, 0.5]]}
ZONE = {"name": "yard", "kind": "zone", "points": [[0, 0], [1, 0], [0.5, 1]], "classes": ["dog"]}


class Made:
    """Settings of a session with two models and two sources, and what they told it."""

    def __init__(self, **fixed: object) -> None:
        self.told: list[tuple[Chosen, Chosen]] = []
        self.recording = False
        chosen = Chosen(0.4, None, (), "small", "camera", ("cat", "dog"))
        self.settings = Settings(
            chosen,
            ("small", "large"),
            ("camera", "street.mp4"),
            {"can_record": True, "blur": [], "tracking": True, **fixed},
            lambda: self.recording,
            lambda before, after: self.told.append((before, after)),
        )


def test_state_is_plain_data_with_all_keys() -> None:
    state = Made().settings.state()
    assert json.loads(json.dumps(state)) == state
    assert set(state) == {
        *("model", "models", "source", "sources", "labels", "score", "classes", "shapes", "recording", "can_record"),
        *("blur", "tracking", "version"),
    }


@pytest.mark.parametrize(
    ("wanted", "key", "value"),
    [
        ({"score": 0.7}, "score", 0.7),
        ({"score": 1}, "score", 1.0),
        ({"classes": ["dog", "dog"]}, "classes", ["dog"]),
        ({"classes": []}, "classes", []),
        ({"classes": None}, "classes", None),
        ({"model": "large"}, "model", "large"),
        ({"source": "street.mp4"}, "source", "street.mp4"),
        ({"shapes": [LINE, ZONE]}, "shapes", [{**LINE, "classes": []}, ZONE]),
    ],
)
def test_a_change_shows_in_the_state(wanted: dict[str, Any], key: str, value: object) -> None:
    made = Made()
    version = made.settings.state()["version"]
    state, record = made.settings.change(wanted)
    assert state[key] == value
    assert state["version"] > version
    assert record is None
    assert len(made.told) == 1


def many(count: int) -> list[dict[str, Any]]:
    return [{**LINE, "name": str(number)} for number in range(count)]


@pytest.mark.parametrize(
    ("wanted", "line"),
    [
        ({"scor": 1}, "unknown setting 'scor'; expected any of score, classes, shapes, model, source, recording"),
        ({"score": "high"}, "score is 'high'; expected a number in 0..1"),
        ({"score": True}, "score is True"),
        ({"score": float("nan")}, "score is nan"),
        ({"score": -0.1}, "score is -0.1"),
        ({"classes": "dog"}, "classes is 'dog'; expected a list of class names, or null for all"),
        ({"classes": ["fox"]}, "the model has no class 'fox'"),
        ({"classes": [["dog"]]}, "the model has no class ['dog']"),
        ({"model": "../../etc/passwd"}, "model is '../../etc/passwd'; expected one of small, large"),
        ({"model": ["small"]}, "model is ['small']"),
        ({"source": "rtsp://elsewhere"}, "source is 'rtsp://elsewhere'; expected one of camera, street.mp4"),
        ({"recording": 1}, "recording is 1; expected true or false"),
        ({"reset_counts": "yes"}, "reset_counts is 'yes'; expected true or false"),
        ({"shapes": {}}, "shapes is not a list of at most 64"),
        ({"shapes": many(65)}, "shapes is not a list of at most 64"),
        ({"shapes": ["door"]}, "shape 1 is not a table"),
        ({"shapes": [{**LINE, "color": "red"}]}, "shape 1 has an unknown key 'color'"),
        ({"shapes": [{**LINE, "name": ""}]}, "shape 1 has no usable name"),
        ({"shapes": [{**LINE, "name": "x" * 41}]}, "shape 1 has no usable name"),
        ({"shapes": [{**LINE, "name": "a\nb"}]}, "shape 1 has no usable name"),
        ({"shapes": [{**LINE, "kind": "circle"}]}, "shape 'door' is of an unknown kind"),
        ({"shapes": [{**LINE, "points": [[0, 0]]}]}, "expected 2 points"),
        ({"shapes": [{**LINE, "points": [[0, 0], [0, 0]]}]}, "line 'door' has no length"),
        ({"shapes": [{**LINE, "points": [[0, 0], [0, 1.1]]}]}, "numbers in 0..1"),
        ({"shapes": [{**LINE, "points": [[0, 0], [0, float("nan")]]}]}, "numbers in 0..1"),
        ({"shapes": [{**ZONE, "points": [[0, 0], [1, 1]]}]}, "expected 3 to 32 points"),
        ({"shapes": [{**ZONE, "classes": "dog"}]}, "the classes of shape 'yard' are not a list of names"),
        ({"shapes": [LINE, LINE]}, "two shapes are called 'door'"),
    ],
)
def test_what_does_not_fit_changes_nothing(wanted: dict[str, Any], line: str) -> None:
    """Not even the part that would fit."""
    made = Made()
    before = made.settings.state()
    with pytest.raises(InputError, match=re.escape(line)) as caught:
        made.settings.change({"classes": ["dog"], **wanted} if "classes" not in wanted else {"score": 0.9, **wanted})
    assert "\n" not in caught.value.line()
    assert made.settings.state() == before
    assert made.told == []


@pytest.mark.parametrize(
    ("fixed", "wanted", "line"),
    [
        ({"can_record": False}, {"recording": True}, "no folder to record to"),
        ({"tracking": False}, {"shapes": [LINE]}, "lines and zones need tracking"),
    ],
)
def test_what_the_session_cannot_do(fixed: dict[str, Any], wanted: dict[str, Any], line: str) -> None:
    with pytest.raises(InputError, match=line):
        Made(**fixed).settings.change(wanted)


def test_recording_is_told_as_it_is() -> None:
    made = Made()
    assert made.settings.change({"recording": True})[1] is True
    version = made.settings.state()["version"]
    made.recording = True  # the disk may be full: only what really runs counts
    assert made.settings.state()["recording"]
    assert made.settings.state()["version"] > version


def test_many_threads_lose_no_change() -> None:
    made = Made()
    threads = [threading.Thread(target=lambda: made.settings.change({"reset_counts": True})) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made.settings.resets == 50
    assert made.settings.state()["version"] == 51
