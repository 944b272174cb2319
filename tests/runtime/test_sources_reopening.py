"""The pauses between attempts, and cameras that come back for a moment only."""

from __future__ import annotations

import pytest

from runtime.errors import RunError
from runtime.frame import Frame
from runtime.sources.reopening import ReopeningSource, pauses
from tests.conftest import picture
from tests.waiting import until


class Flapping:
    """A camera that gives one frame each time it is opened."""

    live = True
    fps: float | None = None

    def __init__(self) -> None:
        self.frames = [Frame(picture(1, 64, 48))]

    def read(self) -> Frame | None:
        if not self.frames:
            raise RunError("the camera stopped")
        return self.frames.pop()

    def rewind(self) -> bool:
        return False

    def close(self) -> None:
        pass


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 0.5), (2, 1), (3, 2), (5, 8), (6, 10), (1000, 10)])
def test_pauses_double_up_to_ten_seconds(attempt: int, seconds: float) -> None:
    tried = [pauses()(attempt) for _ in range(50)]
    assert 0.8 * seconds <= min(tried) < max(tried) <= 1.2 * seconds


@pytest.mark.parametrize(("settled", "attempts"), [(60.0, [1, 2, 3, 4]), (0.0, [])])
def test_pauses_go_on_growing_until_a_camera_stays(settled: float, attempts: list[int]) -> None:
    asked: list[int] = []

    def pause(attempt: int) -> float:
        asked.append(attempt)
        return 0.01

    source = ReopeningSource("camera", Flapping, Flapping(), pause=pause, settled=settled)
    until(lambda: source.state.returns >= 5)
    source.close()
    assert asked[:4] == attempts
    assert source.state.state == "ended"


def test_a_defect_is_not_tried_again() -> None:
    def broken() -> Flapping:
        raise ZeroDivisionError

    source = ReopeningSource("camera", broken)
    with pytest.raises(ZeroDivisionError):
        source.read()
    source.close()
