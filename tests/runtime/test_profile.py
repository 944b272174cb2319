"""Where the time of a frame goes: a real network under the real profiler, and machines that have none."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from convert.quantize.cost import multiply_accumulates
from runtime import profile as package
from runtime.engine import Engine
from runtime.errors import InputError, RunError
from runtime.ops import list_ops
from runtime.profile import Profile, profile
from runtime.profile.native import ProfilerError

_MULTIPLIES = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")


@pytest.fixture(scope="module")
def profiled(tiny_model: Path) -> Profile:
    return profile(tiny_model, 1, 20)


def test_every_op_is_there(profiled: Profile, tiny_model: Path) -> None:
    listed = list_ops(Engine(tiny_model)).ops
    assert [(op.index, op.name, op.delegated) for op in profiled.ops] == [
        (op.index, op.name, op.delegated) for op in listed
    ]
    assert (profiled.finding, profiled.unmapped) == ("", ())


def test_every_convolution_has_a_time_of_its_own(profiled: Profile) -> None:
    own = [op for op in profiled.ops if op.name in _MULTIPLIES]
    assert own
    assert all(op.ms and op.min_ms and op.min_ms <= op.ms * 1.001 and len(op.kernels) == 1 for op in own)
    assert set(profiled.ms_by_output) == {op.outputs[0] for op in profiled.ops if op.ms is not None}


def test_ops_add_up(profiled: Profile) -> None:
    """Roughly: the clock is read around each op, and the machine may have others to serve."""
    assert 0.2 * profiled.profiled_ms < profiled.ops_ms < 2 * profiled.profiled_ms
    assert sum(family.ms for family in profiled.families) <= profiled.ops_ms * 1.001


def test_work_is_counted_as_elsewhere(profiled: Profile, tiny_model: Path) -> None:
    assert sum(op.work.macs for op in profiled.ops) == multiply_accumulates(tiny_model.read_bytes())


def test_no_profiler(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Path:
        raise ProfilerError("this interpreter has no profiler")

    monkeypatch.setattr(package, "find_library", none)
    found = profile(tiny_model, 1, 5)
    assert found.finding == "this interpreter has no profiler"
    assert (found.ms, found.ms_by_output) == ({}, {})
    assert found.invoke_ms["median"] > 0


def test_child_that_dies(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An instruction the processor lacks ends a child and no more."""
    dying = "import os, signal; os.kill(os.getpid(), signal.SIGILL)"
    monkeypatch.setattr(package, "_COMMAND", (sys.executable, "-c", dying))
    with pytest.raises(RunError) as caught:
        profile(tiny_model, 1, 5)
    assert "was killed by SIGILL" in caught.value.line()
    assert "\n" not in caught.value.line()


def test_profiler_that_dies_leaves_whole_runs(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    once = (
        "import json, os, signal, sys; text = sys.stdin.read()\n"
        "if json.loads(text)['library']: os.kill(os.getpid(), signal.SIGSEGV)\n"
        "import io; sys.stdin = io.StringIO(text)\n"
        "from runtime.profile.child import main; sys.exit(main())"
    )
    monkeypatch.setattr(package, "_COMMAND", (sys.executable, "-c", once))
    found = profile(tiny_model, 1, 5)
    assert "was killed by SIGSEGV" in found.finding
    assert found.ms == {}
    assert found.invoke_ms["median"] > 0


@pytest.mark.parametrize(("threads", "runs"), [(0, 5), (1, 0)])
def test_counts_of_nothing(tiny_model: Path, threads: int, runs: int) -> None:
    with pytest.raises(InputError, match="expected at least 1 of each"):
        profile(tiny_model, threads, runs)


def test_not_a_model(tmp_path: Path) -> None:
    (tmp_path / "text.tflite").write_text("no model")
    with pytest.raises(InputError):
        profile(tmp_path / "text.tflite")
