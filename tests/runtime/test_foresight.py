"""Which pictures are decoded, when the network is slower than the camera."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, cast

import cv2
import numpy as np
import pytest

from runtime.foresight import Foresight
from runtime.frame import Frame
from runtime.ledger import NEWER, RATE
from runtime.sources import Asking, Source
from runtime.sources.reopening import ReopeningSource
from runtime.sources.video import VideoSource
from tests.runtime.test_pipeline import Everything, SlowDetector, pipeline


def learned(gap: float, effort: float, run: float) -> Foresight:
    """One that has seen eight of each; the network begins to run at 100 s."""
    foresight = Foresight()
    for index in range(9):
        foresight.can_wait(90 + index * gap)
        foresight.ready(90 + index * gap, 90 + index * gap + effort)
        foresight.begins(50.0)
        foresight.ends(50 + run)
    foresight.begins(100.0)
    return foresight


@pytest.mark.parametrize(
    ("gap", "effort", "run", "captured", "expected"),
    [
        (0.03, 0.01, 0.1, 100.0, True),
        (0.03, 0.01, 0.1, 100.04, True),
        # 0.06 + 1.25 * 0.03 + 0.01 > 0.1: the next one would come late.
        (0.03, 0.01, 0.1, 100.06, False),
        (0.03, 0.05, 0.1, 100.02, False),
        # A network that is faster than the camera waits for every picture.
        (0.03, 0.01, 0.02, 100.0, False),
        # One a second: nobody knows when the next one comes, if at all.
        (3.0, 0.01, 20.0, 100.0, False),
    ],
)
def test_a_picture_waits_when_the_next_one_is_ready_in_time(
    gap: float, effort: float, run: float, captured: float, expected: bool
) -> None:
    foresight = learned(gap, effort, run)
    for index in range(8, 0, -1):
        foresight.can_wait(captured - index * gap)
    assert foresight.can_wait(captured) is expected


def test_nothing_waits_for_a_network_that_is_free_or_unknown() -> None:
    foresight = Foresight()
    assert not any(foresight.can_wait(index * 0.03) for index in range(9))
    foresight = learned(0.03, 0.01, 0.1)
    foresight.ends(100.1)
    assert not any(foresight.can_wait(100 + index * 0.03) for index in range(9))


class Webcam:
    """What :class:`VideoSource` needs of an OpenCV capture; black pictures every few milliseconds."""

    def __init__(self, interval: float, count: int = 10**9) -> None:
        self.interval, self.left = interval, count
        self.grabbed = self.decoded = 0

    def get(self, key: int) -> float:
        return 1 / self.interval if key == cv2.CAP_PROP_FPS else 0.0

    def grab(self) -> bool:
        time.sleep(self.interval)
        self.left -= 1
        self.grabbed += self.left >= 0
        return self.left >= 0

    def retrieve(self) -> tuple[bool, Any]:
        self.decoded += 1
        return True, np.zeros((4, 4, 3), np.uint8)

    def release(self) -> None:
        pass


def video(camera: Webcam) -> VideoSource:
    camera.grab()
    return VideoSource(cast(cv2.VideoCapture, camera), "webcam", live=True)


def lasting(camera: Webcam) -> ReopeningSource:
    source = video(camera)
    return ReopeningSource("webcam", lambda: source, source)


@pytest.mark.parametrize("opened", [video, lasting])
def test_a_slow_network_has_few_pictures_decoded(opened: Callable[[Webcam], Source]) -> None:
    camera = Webcam(0.005)
    source = opened(camera)
    assert isinstance(source, Asking)
    with pipeline(source, SlowDetector(0.1)) as running:
        results = [running.take() for _ in range(12)]
        tally = running.ledger.tally()
        running.stop()
    # On a quiet machine a fifth of them; a busy one is not to fail.
    assert camera.decoded < 0.8 * camera.grabbed
    # Numbers count what was left out as well, and the newest is looked at, not the one after the last result.
    indices = [result.frame.index for result in results if result]
    assert len(indices) == 12
    assert indices[-1] - indices[0] >= 2 * len(indices)
    assert tally.captured == tally.results + tally.dropped + tally.in_flight
    assert tally.left_out[NEWER] >= 0.2 * camera.grabbed
    assert source.wanted is None


def test_an_onlooker_gets_every_picture() -> None:
    camera, onlooker = Webcam(0.005, 60), Everything()
    with (
        pytest.raises(Exception, match="webcam stopped"),
        pipeline(video(camera), SlowDetector(0.05), onlooker=onlooker) as running,
    ):
        list(running)
    assert len(onlooker.captured) == camera.decoded == 60


def test_what_comes_too_often_is_not_decoded() -> None:
    camera = Webcam(0.005)
    with pipeline(video(camera)) as running:
        running.limit(20.0)
        begin = time.monotonic()
        results = [running.take() for _ in range(10)]
        seconds = time.monotonic() - begin
        left_out = running.ledger.tally().left_out
        running.stop()
    assert all(results)
    assert camera.decoded <= 25 * seconds + 3
    assert left_out[RATE] > camera.decoded


def test_a_source_that_comes_back_counts_on_and_goes_on_asking() -> None:
    """Also over pictures that were left out."""
    asked: list[float] = []

    def every_other(captured: float) -> bool:
        asked.append(captured)
        return bool(len(asked) % 2)

    cameras = [Webcam(0.002, 7), Webcam(0.002, 7)]
    left = cameras[1:]

    def again() -> Source:
        return video(left.pop()) if left else video(Webcam(0.05))

    source = ReopeningSource("webcam", again, video(cameras[0]), pause=lambda attempt: 0.0)
    source.wanted = every_other
    seen: list[int] = []
    while len(seen) < 5:
        frame = source.read()
        assert isinstance(frame, Frame)
        seen.append(frame.index)
    source.wanted = None
    source.close()
    assert asked
    assert seen == sorted(set(seen))
    assert cameras[0].decoded + cameras[1].decoded <= 8
