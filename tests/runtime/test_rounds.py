"""``bench --inference-only``: bare networks in turn, on machines that have little."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime import board, rounds
from runtime.cli import main
from runtime.errors import InputError
from tests.conftest import ROOT

BARE = ROOT / "runtime" / "data" / "selftest.tflite"


class Sleeper:
    """A network that takes as long as its file's name says."""

    provider = "clock"

    def __init__(self, path: Path, threads: int, delegate: str | None) -> None:
        self.ms = float(path.stem)

    def invoke(self) -> None:
        Clock.now += self.ms / 1e3
        Clock.calls.append(self.ms)


class Clock:
    """Time that passes only where a network runs."""

    now = 0.0
    calls: list[float]

    @classmethod
    def perf_counter(cls) -> float:
        return cls.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> type[Clock]:
    Clock.calls = []
    monkeypatch.setattr(rounds, "Engine", Sleeper)
    monkeypatch.setattr(rounds, "time", Clock)
    return Clock


def test_files_take_turns(clock: type[Clock]) -> None:
    first, second, third = rounds.time_inference([Path("4.x"), Path("5.x"), Path("2.x")], [1], 9)
    taken = [tuple(clock.calls[at : at + 3]) for at in range(0, len(clock.calls), 3)]
    assert len(taken) == rounds.WARM_UP + 9
    assert {each: taken.count(each) for each in taken} == {(4, 5, 2): 6, (5, 2, 4): 6, (2, 4, 5): 7}
    assert [row["inference_ms"]["median"] for row in (first, second, third)] == [4.0, 5.0, 2.0]
    assert [row["slowdown"] for row in (first, second, third)] == [0.0, 25.0, -50.0]
    assert first["end_to_end_ms"] is None
    assert (first["runs"], first["provider"], first["machine"]) == (9, "clock", board.cpu_name())


def test_a_row_for_each_thread_count(clock: type[Clock]) -> None:
    rows = rounds.time_inference([Path("4.x"), Path("5.x")], [1, 3], 2)
    assert [(row["threads"], row["model"]) for row in rows] == [(1, "4.x"), (1, "5.x"), (3, "4.x"), (3, "5.x")]


def test_slowdown_is_of_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """One round is disturbed as a whole, one in its second half; of the medians of the files 350 % would come."""
    seconds = np.array([[1.0, 1.5], [10.0, 15.0], [2.0, 9.0]])
    monkeypatch.setattr(rounds, "Engine", Sleeper)
    monkeypatch.setattr(rounds, "_seconds", lambda *_: seconds)
    assert rounds.time_inference([Path("1.x"), Path("1.x")], [1], 3)[1]["slowdown"] == 50.0


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([False], False),
        ([None], None),
        ([False, True, False], True),
        ([False, False, False, True, False], True),
        ([False, False, None], False),
    ],
)
def test_throttled_at_any_look(
    clock: type[Clock], monkeypatch: pytest.MonkeyPatch, answers: list[bool | None], expected: bool | None
) -> None:
    """The last answer is given for ever; ``None`` is a program that failed."""

    def throttle() -> board.Throttle | None:
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        return None if answer is None else board.Throttle(("throttled",) if answer else (), ())

    monkeypatch.setattr(board, "throttle", throttle)
    assert rounds.time_inference([Path("4.x")], [1], 30)[0]["throttled"] is expected


@pytest.fixture
def no_opencv(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the program where OpenCV is not installed."""
    (tmp_path / "cv2.py").write_text("raise ImportError('no OpenCV here')\n")

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"PYTHONPATH": str(tmp_path)}
        command = [sys.executable, "-m", "runtime", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False)

    return run


def test_neither_card_nor_opencv_is_needed(no_opencv: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = no_opencv("bench", "--inference-only", "--json", "--runs", 5, "--threads", "1,2", BARE, BARE)
    assert done.returncode == 0, done.stderr
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    assert [(row["model"], row["threads"], row["runs"]) for row in rows] == [
        (str(BARE), threads, 5) for threads in (1, 1, 2, 2)
    ]
    for row in rows:
        assert set(row) - {"compared"} == {
            *("model", "threads", "runs", "inference_ms", "end_to_end_ms", "slowdown"),
            *("provider", "peak_rss_mb", "throttled", "machine", "before", "after"),
        }
        ms = row["inference_ms"]
        assert 0 < ms["min"] <= ms["median"] <= ms["p95"] <= ms["p99"]
        assert row["provider"].startswith("litert")
    assert [row.get("compared", {}).get("with") for row in rows] == [None, str(BARE)] * 2
    # What does need it says so.
    done = no_opencv("bench", BARE)
    assert (done.returncode, done.stderr) == (
        1,
        "error: no OpenCV here; expected an installed package; pip install 'edgewren[device]'\n",
    )


def test_doctor_tells_that_opencv_is_missing(no_opencv: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = no_opencv("doctor", "--json")
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert not checks["opencv"]["ok"]
    assert done.returncode == 1


def test_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--inference-only", "--runs", "5", str(BARE), str(BARE)]) == 0
    title, header, first, second, compared, *rest = capsys.readouterr().out.splitlines()
    assert "5 interleaved rounds" in title
    assert header.split() == ["threads", "invoke", "ms", "min/median/p95/p99", "slower", "RSS", "MiB", "model"]
    assert "+0.0%" in first
    assert second.endswith("  selftest")
    assert compared.startswith("1 thread(s), invoke alone: selftest takes ")
    assert all(line.startswith("before: ") for line in rest)


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        (["--inference-only", "--input", "a.png"], "--input with --inference-only"),
        (["--ops", "--input", "a.png"], "--input with --ops"),
        (["--tune", "--input", "a.png"], "--input with --tune"),
        (["--ops", "--delegate", "libedgetpu.so.1"], "--ops with --delegate"),
        (["--tune", "--compare"], "--compare: not allowed with argument --tune"),
        (["--compare"], "--compare with one model"),
    ],
)
def test_flags_that_have_nothing_to_do_with_each_other(flags: list[str], error: str) -> None:
    with pytest.raises(InputError, match=error):
        main(["bench", *flags, str(BARE)])
