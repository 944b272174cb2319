"""Health on a clock made of numbers."""

from __future__ import annotations

from typing import Literal

import pytest

from apps.health import Health, patience


@pytest.mark.parametrize(
    ("beats", "now", "good", "text"),
    [
        ([], 0.0, False, "starting: no frame yet"),
        ([(0.0, "live")], 1.0, True, "live"),
        ([(0.0, "live")], 10.0, True, "live"),
        ([(0.0, "live")], 11.0, False, "stuck: no result for 11 s"),
        ([(0.0, "live"), (9.0, "reopening")], 11.0, True, "waiting: the source is reopening"),
        ([(0.0, "reopening")], 11.0, False, "stuck: no result for 11 s"),
        ([(0.0, "reopening"), (2.0, "live")], 3.0, True, "live"),
    ],
)
def test_health(beats: list[tuple[float, Literal["live", "reopening"]]], now: float, good: bool, text: str) -> None:
    health = Health(limit_s=10)
    for when, source in beats:
        health.beat(when, source)
    assert health.check(now) == (good, text)


@pytest.mark.parametrize(("max_fps", "seconds"), [(None, 10), (30, 10.1), (1, 13), (0.1, 40)])
def test_who_asks_for_few_results_waits_longer(max_fps: float | None, seconds: float) -> None:
    assert patience(max_fps) == pytest.approx(seconds)
