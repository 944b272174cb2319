"""Which level is chosen when, on a clock made of numbers."""

from __future__ import annotations

import itertools

import pytest

from apps.governor import Governor, Level, Load, ladder

FINE = Load(50.0, 55.0, ())
LATE = Load(500.0, 55.0, ())
HOT = Load(50.0, 85.0, ())
WEAK = Load(50.0, 55.0, ("under-voltage",))
BLIND = Load(50.0)


def governor() -> Governor:
    return Governor(ladder(4, has_small=False), deadline_ms=200, patience_s=5, recovery_s=30)


def run(what: Governor, start: int, seconds: int, load: Load) -> Level:
    for second in range(start, start + seconds):
        level = what.update(float(second), load)
    return level


@pytest.mark.parametrize(
    ("load", "seconds", "rate", "said"),
    [
        (FINE, 60, 1.0, ""),
        (BLIND, 60, 1.0, ""),
        (LATE, 5, 1.0, ""),
        (LATE, 6, 0.75, "running at 75% of the frame rate: results take 500 ms of 200 allowed"),
        (HOT, 6, 0.75, "running at 75% of the frame rate: the processor is at 85 degrees C"),
        (WEAK, 6, 0.75, "running at 75% of the frame rate: the board is held back (under-voltage)"),
        (LATE, 12, 0.5, "running at 50% of the frame rate: results take 500 ms of 200 allowed"),
        (
            LATE,
            60,
            0.33,
            "running at 33% of the frame rate with fewer threads: results take 500 ms of 200 allowed",
        ),
    ],
)
def test_steps_down(load: Load, seconds: int, rate: float, said: str) -> None:
    what = governor()
    assert run(what, 0, seconds, load).rate == rate
    assert what.notice == said


def test_trouble_that_comes_and_goes_is_borne() -> None:
    what = governor()
    for second in range(0, 300, 5):
        run(what, second, 4, LATE)
        assert run(what, second + 4, 1, FINE) == Level()


def test_steps_back_one_at_a_time_and_says_so() -> None:
    what = governor()
    run(what, 0, 12, LATE)
    assert run(what, 12, 30, FINE).rate == 0.5
    assert run(what, 42, 1, FINE).rate == 0.75
    assert what.notice == "running at 75% of the frame rate: recovering"
    assert run(what, 43, 30, FINE).rate == 1.0
    assert what.notice == ""


def test_a_board_that_falls_back_at_once_is_left_alone_for_longer_and_longer() -> None:
    """Fine at 75 %, late at 100 %: the pauses between the tries grow to eight times the first and no further."""
    what = governor()
    run(what, 0, 6, LATE)
    tries = []
    level = what.level
    for second in range(6, 3000):
        before, level = level, what.update(float(second), LATE if level == Level() else FINE)
        if level == Level() and before != level:
            tries.append(second)
    pauses = [late - early for early, late in itertools.pairwise(tries)]
    assert pauses[0] < pauses[1] < pauses[2]
    assert max(pauses) <= 8 * 30 + 10
    assert pauses[-1] == max(pauses)


def test_a_long_peace_at_full_work_is_a_fresh_start() -> None:
    what = governor()
    for start in (0, 100, 200):  # three falls after which recovery did not last
        run(what, start, 100, LATE)
    run(what, 300, 5000, FINE)
    run(what, 5300, 6, LATE)
    assert run(what, 5306, 31, FINE) == Level()


@pytest.mark.parametrize(("threads", "small"), [(1, False), (4, False), (1, True), (4, True)])
def test_ladders_do_less_with_every_step(threads: int, small: bool) -> None:
    levels = ladder(threads, small)
    assert levels[0] == Level()
    assert len(set(levels)) == len(levels)
    assert any(level.small for level in levels) == small
    assert any(level.threads < 1 for level in levels) == (threads > 1)
    assert [level.rate for level in levels[:4]] == [1.0, 0.75, 0.5, 0.33]
