"""A short soak; ``python -m tests.soak`` is the long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.pipeline import MOST_IN_FLIGHT
from tests.soak import Growth, Sample, growth, soak, unexplained


@pytest.mark.parametrize(
    ("rss", "threads", "expected"),
    [
        ([40, 80, 80, 80, 80, 80, 80, 80, 80], [9] * 9, Growth(0, 0, 0)),
        ([80, 81, 82, 83, 84, 85, 86, 87, 88], [9] * 9, Growth(4.5, 0, 0)),
        ([80] * 9, [1, 2, 3, 4, 5, 6, 7, 8, 9], Growth(0, 4.5, 0)),
    ],
    ids=["start left out", "memory", "threads"],
)
def test_growth_is_seen(rss: list[float], threads: list[int], expected: Growth) -> None:
    samples = [Sample(i, mb, count, 20, 0, 0) for i, (mb, count) in enumerate(zip(rss, threads, strict=True))]
    assert growth(samples) == pytest.approx(expected, abs=1)


@pytest.mark.parametrize(
    ("captured", "in_flight", "expected"),
    [(10, 0, 0), (12, 2, 0), (10 + MOST_IN_FLIGHT, MOST_IN_FLIGHT, 0), (40, 30, 25), (9, -1, 1), (12, 0, 2)],
)
def test_a_wrong_sum_is_seen(captured: int, in_flight: int, expected: int) -> None:
    figures = {"captured": captured, "frames": 7, "left_out": {"newer": 2, "rate": 1}, "in_flight": in_flight}
    assert unexplained(figures) == expected


def test_a_session_with_everything_on_does_not_grow(tiny_model: Path) -> None:
    """Viewer, broker, recording in short segments, clips of events, state file."""
    for seconds in (18, 54):
        samples = soak(tiny_model, "synthetic://cards?size=320x240", seconds=seconds, every=1, segment_s=2)
        grown = growth(samples)
        if grown.rss_mb < 8:
            break
        # On a busy machine it may have begun to count before everything was in use; what leaks goes on with it.
    assert samples[-1].frames > 50
    assert [sample.unexplained for sample in samples] == [0] * len(samples)
    assert grown.rss_mb < 8
    assert grown.threads <= 1
    assert grown.files <= 2
