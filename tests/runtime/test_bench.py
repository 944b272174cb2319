"""``bench``: what is measured beside the medians, and what becomes of it."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime import Detector, board, rounds, tuning
from runtime.bench import bench, noise_frame
from runtime.cli import main
from runtime.cli.bench_table import THROTTLED, lines
from runtime.errors import RunError
from runtime.opening import default_threads
from runtime.streaming import MemorySource
from tests.conftest import ROOT
from tests.runtime.op_nets import Int8Net

BARE = ROOT / "runtime" / "data" / "selftest.tflite"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "edgewren" / "threads.json"


class Pi:
    """A Raspberry Pi's ``vcgencmd``, heat and clock."""

    def __init__(self, folder: Path) -> None:
        self._bits, self._zone = folder / "bits", folder / "sys" / "class" / "thermal" / "thermal_zone0"
        self._clock = folder / "sys" / "devices" / "system" / "cpu" / "cpu0" / "cpufreq"
        for made in (self._zone, self._clock):
            made.mkdir(parents=True)
        program = folder / "vcgencmd"
        # Each call takes a line off; the last one stays.
        program.write_text(
            f'#!/bin/sh\nhead -n1 {self._bits}\n[ "$(wc -l <{self._bits})" -gt 1 ] && sed -i 1d {self._bits}\nexit 0\n'
        )
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        self.say("0x0")

    def say(self, *bits: str, celsius: float = 48.3, mhz: float = 1800) -> None:
        self._bits.write_text("".join(f"throttled={value}\n" for value in bits))
        (self._zone / "temp").write_text(f"{celsius * 1000:.0f}\n")
        (self._clock / "scaling_cur_freq").write_text(f"{mhz * 1000:.0f}\n")


@pytest.fixture
def pi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pi:
    (tmp_path / "pi").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "pi"), prepend=":")
    monkeypatch.setattr(board, "SYSFS", tmp_path / "pi" / "sys")
    return Pi(tmp_path / "pi")


@pytest.mark.parametrize(
    ("bits", "now", "since"),
    [
        (0x0, (), ()),
        (0x1, ("under-voltage",), ()),
        (0x2, ("frequency capped",), ()),
        (0x4, ("throttled",), ()),
        (0x8, ("soft temperature limit",), ()),
        (0x50005, ("under-voltage", "throttled"), ("under-voltage", "throttled")),
        (0xE0008, ("soft temperature limit",), ("frequency capped", "throttled", "soft temperature limit")),
        (0xF00F0, (), ("under-voltage", "frequency capped", "throttled", "soft temperature limit")),
    ],
)
def test_throttle_bits_are_words(bits: int, now: tuple[str, ...], since: tuple[str, ...]) -> None:
    assert board.Throttle.decode(bits) == board.Throttle(now, since)


@pytest.mark.parametrize(
    ("answers", "throttled"),
    [
        (["0x0"], False),
        (["0x50000"], False),
        (["0x4"], True),
        (["0x0", "0x0", "0x0", "0x4", "0x40000"], True),
        # Slowed down between two looks: only the memory of it is seen.
        (["0x10000", "0x10000", "0x10000", "0x50000"], True),
    ],
)
def test_conditions_before_and_after(pi: Pi, answers: list[str], throttled: bool) -> None:
    pi.say(*answers)
    (row,) = rounds.time_inference([BARE], [1], 5)
    assert row["throttled"] is throttled
    assert (row["before"]["celsius"], row["before"]["mhz"]) == (48.3, 1800)
    assert row["after"]["throttle"]["since_boot"] == list(board.Throttle.decode(int(answers[-1], 16)).since_boot)
    text = list(lines([row]))
    assert (THROTTLED in text) is throttled
    assert any(line.startswith("before: 48 degrees C, 1800 MHz, ") for line in text)


def test_frames_and_streams(tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", str(tiny_model), "--runs", "8", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    for key in ("inference_ms", "end_to_end_ms", "preprocess_ms", "inference_stage_ms", "postprocess_ms"):
        assert 0 < row[key]["min"] <= row[key]["median"] <= row[key]["p95"] <= row[key]["p99"]
    flow = row["stream"]
    assert (flow["frames"], flow["camera_fps"]) == (10, 30)
    # Of a network this small the share says nothing.
    assert flow["fps"] > 0 < flow["invoke_share"]
    assert 0 < flow["latency_ms"]["min"] <= flow["latency_ms"]["p95"]
    assert flow["dropped"] >= 0
    assert "capture to result" in "\n".join(lines([row]))


def test_streaming_source_ends() -> None:
    source = MemorySource(noise_frame(), 2)
    first, second = source.read(), source.read()
    assert first is not None
    assert second is not None
    assert second.captured >= first.captured
    assert source.read() is None
    assert not source.rewind()


def test_comparison(tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--compare", str(tiny_model), str(tiny_model), "--runs", "30", "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert "compared" not in first
    assert second["compared"]["with"] == str(tiny_model)
    for key in ("inference", "end_to_end"):
        found = second["compared"][key]
        assert found["low"] <= found["ratio"] <= found["high"]
    assert second["stream"] is None
    assert "95 % interval" in "\n".join(lines([first, second], "compare"))


def test_interval_holds_the_true_ratio() -> None:
    """Of 200 measurements of what is known to take 1.1 times as long, about 95 % say so."""
    random, right = np.random.default_rng(3), 0
    for _ in range(200):
        # A machine that is busy now and then, in both halves of a round.
        busy = random.gamma(1.0, 0.3, 60)
        theirs = 5 + busy + random.gamma(2.0, 0.1, 60)
        ours = 1.1 * (5 + busy + random.gamma(2.0, 0.1, 60))
        found = rounds.ratio(ours, theirs, 400)
        right += found["low"] <= 1.1 <= found["high"]
    assert 0.88 * 200 <= right <= 0.99 * 200


def test_interval_of_what_never_varies() -> None:
    ms = np.array([1.0, 2.0, 3.0, 9.0])
    assert rounds.ratio(2 * ms, ms) == {"ratio": 2.0, "low": 2.0, "high": 2.0}


@pytest.mark.parametrize(
    ("ms", "threads"),
    [
        ({1: 4.0, 2: 2.0, 4: 1.0}, 4),
        ({1: 4.0, 2: 1.02, 4: 1.0}, 2),
        ({1: 2.0, 2: 2.1, 4: 3.0}, 1),
        ({1: 1.04, 2: 1.0}, 1),
        ({4: 1.0}, 4),
    ],
)
def test_the_fewest_threads_that_are_as_good(ms: dict[int, float], threads: int) -> None:
    assert tuning.choose(ms) == threads


def test_tuned_threads_are_used(tiny_model: Path, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tuning.tuned_threads(tiny_model) is None
    # Three is no one's default.
    assert main(["bench", "--tune", str(tiny_model), "--threads", "3", "--runs", "6"]) == 0
    text = capsys.readouterr().out
    assert f"{tiny_model.stem}: 3 thread(s) from now on (invoke ms by threads: 3: " in text
    assert f"kept in {cache}" in text
    with Detector.open(tiny_model) as tuned, Detector.open(tiny_model, threads=2) as asked:
        assert [model.executor.threads for model in (tuned, asked)] == [3, 2]  # type: ignore[attr-defined]
    # With a delegate another number may be best, also with one that turns out to be of no use.
    with Detector.open(tiny_model, delegate="libno-such-tpu.so.1") as other:
        assert other.executor.threads == default_threads()  # type: ignore[attr-defined]


def test_figures_are_of_one_file_and_one_board(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, same, other, changed = (tmp_path / f"{name}.tflite" for name in ("one", "same", "other", "changed"))
    for path, data in ((one, b"model"), (same, b"model"), (other, b"modem"), (changed, b"model ")):
        path.write_bytes(data)
    tuning.remember(one, 3, {1: 2.0, 3: 1.0})
    tuning.remember(other, 2, {2: 1.0})
    assert [tuning.tuned_threads(path) for path in (one, same, other, changed)] == [3, 3, 2, None]
    monkeypatch.setattr(board, "cpu_name", lambda: "another board")
    assert tuning.tuned_threads(one) is None
    tuning.remember(one, 4, {4: 1.0})
    assert tuning.tuned_threads(one) == 4
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache.parents[1]))
    assert tuning.tuned_threads(one) == 3
    # The latest figure takes the place of the one before.
    tuning.remember(same, 1, {1: 1.0})
    assert tuning.tuned_threads(one) == 1
    assert len(json.loads(cache.read_text())["models"]) == 3
    tuning.remember(one, 2, {2: 1.0}, "libedgetpu.so.1")
    names = (None, "libedgetpu.so.1", "libedgetpu.so.1:device=usb:1")
    assert [tuning.tuned_threads(one, name) for name in names] == [1, 2, None]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"version": 1}', '{"version": 1, "models": [{}]}', '{"version": 1, "models": 3}', "\0\0"]
)
def test_damaged_file_is_ignored_with_a_line(
    text: str, cache: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache.parent.mkdir(parents=True)
    cache.write_text(text)
    assert tuning.tuned_threads(tiny_model) is None
    assert capsys.readouterr().err == f"note: {cache} is damaged and ignored; bench --tune writes it anew\n"
    tuning.remember(tiny_model, 2, {2: 1.0})
    assert tuning.tuned_threads(tiny_model) == 2


@pytest.mark.parametrize("threads", ["1e999", "99999", '"many"', "null", "[" * 100_000])
def test_damaged_figure_is_ignored_with_a_line(
    threads: str, cache: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tuning.remember(tiny_model, 2, {2: 1.0})
    cache.write_text(cache.read_text().replace('"threads": 2', f'"threads": {threads}'))
    assert tuning.tuned_threads(tiny_model) is None
    assert capsys.readouterr().err == f"note: {cache} is damaged and ignored; bench --tune writes it anew\n"
    tuning.remember(tiny_model, 3, {3: 1.0})


def test_file_of_another_version_is_ignored_in_silence(cache: Path, tiny_model: Path) -> None:
    cache.parent.mkdir(parents=True)
    cache.write_text('{"version": 2, "models": {}}')
    assert tuning.tuned_threads(tiny_model) is None


def test_missing_model_is_not_the_business_of_tuning(cache: Path, tiny_model: Path, tmp_path: Path) -> None:
    tuning.remember(tiny_model, 2, {2: 1.0})
    assert tuning.tuned_threads(tmp_path / "missing.tflite") is None


def test_a_throttled_board_is_not_tuned(pi: Pi, cache: Path) -> None:
    pi.say("0x4")
    with pytest.raises(RunError, match="was throttled"):
        main(["bench", "--tune", str(BARE), "--runs", "3"])
    assert not cache.exists()


def test_what_neither_detects_nor_classifies_is_timed_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net = Int8Net((1, 8, 8, 16))
    net.graph.outputs = [net.double()]
    path = net.write(tmp_path / "net.tflite")
    assert main(["bench", str(path), "--runs", "3"]) == 0
    said = capsys.readouterr()
    assert said.err.startswith(f"note: {path} has no card.json and does not take one colour picture")
    assert said.err.endswith("what is timed is invoke alone\n")
    assert "invoke ms" in said.out


def test_rows_without_a_stream(tiny_model: Path) -> None:
    rows: list[dict[str, Any]] = bench([tiny_model], [1, 2], 3)
    assert [(row["threads"], row["stream"]) for row in rows] == [(1, None), (2, None)]
