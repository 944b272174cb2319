"""``bench --ops``: milliseconds, work and shape of every op, and what is said where there are none."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import math
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

import runtime.profile as profiling
from runtime.cli import main
from runtime.errors import InputError, RunError
from runtime.modelfile import require_card
from runtime.profile import Profile, profile
from runtime.profile.facts import EventFact, GemmFact, Measurement, NodeFact, TensorFact
from runtime.profile.plot import draw
from runtime.profile.report import build
from runtime.profile.work import Gemm
from tests.conftest import ROOT, needs_shared
from tests.runtime.op_nets import Int8Net

BARE = ROOT / "runtime" / "data" / "selftest.tflite"
RUNS = 12
# A shared library that is none of LiteRT's.
OTHER_LIBRARY = cv2.__file__ if cv2.__file__.endswith(".so") else next(Path(cv2.__file__).parent.glob("*.so"))


@pytest.fixture(scope="module")
def net_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Convolutions of each kind, a pad that is folded into one, and an op XNNPACK leaves out, in two partitions."""
    net = Int8Net((1, 40, 40, 16))
    net.conv(32)
    net.pad()
    net.depthwise(3, same=False)
    net.conv(24, 3)
    net.double()
    pool = schema.Pool2DOptionsT()
    pool.padding, pool.strideW, pool.strideH, pool.filterWidth, pool.filterHeight = 1, 2, 2, 2, 2
    net.add("AVERAGE_POOL_2D", (1, 20, 20, 24), options=pool)
    net.conv(48)
    net.graph.outputs = [net.conv(8)]
    return net.write(tmp_path_factory.mktemp("ops") / "net.tflite")


@pytest.fixture(scope="module")
def measured(net_path: Path) -> Profile:
    return profile(net_path, runs=RUNS)


def test_every_op_has_its_time(measured: Profile) -> None:
    assert measured.finding == ""
    assert measured.unmapped == ()
    assert [op.name for op in measured.ops] == [
        *("CONV_2D", "PAD", "DEPTHWISE_CONV_2D", "CONV_2D", "ADD", "AVERAGE_POOL_2D", "CONV_2D", "CONV_2D")
    ]
    assert sorted(measured.ms) == list(range(8))
    kernels = [" ".join(op.kernels) for op in measured.ops]
    assert ["DWConv" in name for name in kernels] == [at == 2 for at in range(8)]
    assert [bool(name) for name in kernels] == [True, False, True, True, True, False, True, True]
    assert measured.partitions == 2
    # What was found by the names of tensors is what was found by position.
    assert list(measured.ms_by_output) == [f"{op.name.lower()}_{op.index}" for op in measured.ops]
    assert list(measured.ms_by_output.values()) == list(measured.ms.values())


def test_folded_and_built_in_ops_say_so(measured: Profile) -> None:
    pad, pool = measured.ops[1], measured.ops[5]
    assert (pad.ms, pad.folded, pad.folded_into, pad.delegated) == (0.0, True, 2, True)
    assert pool.ms is not None
    assert (pool.delegated, pool.kernels) == (False, ())
    assert "strided convolution" in pool.reason


def test_ops_together_are_the_run(measured: Profile) -> None:
    """Least times: they hardly suffer from other programs. The rest of a run is the call itself."""
    least = sum(op.min_ms or 0.0 for op in measured.ops)
    assert 0.3 < least / measured.invoke_ms["min"] < 1.6
    assert all((op.min_ms or 0.0) <= (op.median_ms or 0.0) for op in measured.ops)


def test_work_is_what_the_shapes_say(measured: Profile) -> None:
    pixels = 40 * 40
    macs = [pixels * 16 * 32, 0, pixels * 32 * 9, pixels * 32 * 9 * 24, 0, 0, 400 * 24 * 48, 400 * 48 * 8]
    assert [op.work.macs for op in measured.ops] == macs
    first, depthwise, add = measured.ops[0].work, measured.ops[2].work, measured.ops[4].work
    assert first.gemm == Gemm(pixels, 32, 16)
    assert measured.ops[3].work.gemm == Gemm(pixels, 24, 9 * 32)
    assert (depthwise.kind, depthwise.gemm) == ("depthwise", None)
    # Input, weights, four bytes of bias for each channel, output.
    assert first.bytes == pixels * 16 + 32 * 16 + 4 * 32 + pixels * 32
    # It adds a tensor to itself: that is read once.
    assert add.bytes == 2 * pixels * 24


def test_rates_follow_from_work_and_time(measured: Profile) -> None:
    assert measured.peak is not None
    for op in measured.ops:
        if op.work.macs:
            assert op.ms is not None
            assert op.gmacs == pytest.approx(op.work.macs / op.ms / 1e6)
            assert op.peak_share == pytest.approx(op.work.macs / op.ms / 1e6 / measured.peak.gmacs)
        else:
            assert op.gmacs is op.peak_share is None
    assert sum(family.ms for family in measured.families) == pytest.approx(measured.ops_ms)
    assert sum(family.macs for family in measured.families) == sum(op.work.macs for op in measured.ops)


def test_macs_are_those_the_converter_counted(tiny_model: Path) -> None:
    found = profile(tiny_model, runs=3)
    assert sum(op.work.macs for op in found.ops) == require_card(tiny_model).macs
    assert all(op.index in found.ms for op in found.ops if op.name in ("CONV_2D", "DEPTHWISE_CONV_2D"))
    assert [op.outputs[0] for op in found.ops if op.outputs[0] in found.ms_by_output]


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_are_those_asked_for(threads: int) -> None:
    code = (
        "import os, sys; from pathlib import Path; import numpy as np\n"
        "from runtime.engine import Engine; from runtime.profile.native import NativeProfiler, find_library\n"
        "model = Path(sys.argv[1]); engine = Engine(model); before = len(os.listdir('/proc/self/task'))\n"
        "detail = engine.interpreter.get_input_details()[0]\n"
        "inputs = {detail['index']: np.zeros(detail['shape'], detail['dtype'])}\n"
        "outputs = {d['index']: (tuple(map(int, d['shape'])), np.dtype(d['dtype']))\n"
        "           for d in engine.interpreter.get_output_details()}\n"
        "profiler = NativeProfiler(find_library(), model, int(sys.argv[2]), inputs, outputs); profiler.run()\n"
        "print(len(os.listdir('/proc/self/task')) - before + 1)"
    )
    command = [sys.executable, "-c", code, str(BARE), str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    assert int(done.stdout.splitlines()[-1]) == threads


def degraded(found: Profile, words: str) -> None:
    assert words in found.finding
    assert "\n" not in found.finding
    assert (found.ms, found.ms_by_output, found.unmapped, found.profiled_ms) == ({}, {}, (), 0.0)
    assert found.invoke_ms["median"] > 0
    assert found.ops
    assert sum(op.work.macs for op in found.ops) > 0


def test_another_version_is_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "9.9.9")
    degraded(profile(BARE, runs=2), "known for ai-edge-litert 2.3.0, 9.9.9 is installed")


def test_another_provider_is_timed_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    degraded(profile(BARE, runs=2), "ai-edge-litert 2.3.0, which is not installed")


@pytest.mark.parametrize(
    ("library", "words"),
    [
        ("/nowhere/libLiteRt.so", "libLiteRt.so cannot be loaded"),
        (OTHER_LIBRARY, "the library has no LiteRtCreateEnvironment"),
    ],
)
def test_a_library_without_the_calls_is_said(monkeypatch: pytest.MonkeyPatch, library: str | Path, words: str) -> None:
    monkeypatch.setattr(profiling, "find_library", lambda: Path(library))
    degraded(profile(BARE, runs=2), words)


def dying_child(when: str) -> tuple[str, ...]:
    """A child that is killed as by an illegal instruction, under the profiler alone (``library``) or always."""
    code = (
        "import io, json, os, signal, sys\n"
        "text = sys.stdin.read()\n"
        f"if {when}: os.kill(os.getpid(), signal.SIGILL)\n"
        "from runtime.profile import child\n"
        "sys.stdin = io.StringIO(text); child.main()\n"
    )
    return sys.executable, "-c", code


def test_a_killed_child_is_a_finding(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(profiling, "_COMMAND", dying_child("json.loads(text)['library']"))
    degraded(profile(BARE, runs=2), "the profiler was killed by SIGILL")
    assert main(["bench", str(BARE), "--ops", "--runs", "2"]) == 0
    assert "no times per op: the profiler was killed by SIGILL" in capsys.readouterr().out


def test_a_model_that_kills_every_child_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiling, "_COMMAND", dying_child("True"))
    with pytest.raises(RunError, match=r"selftest.tflite was killed by SIGILL.*doctor"):
        profile(BARE, runs=2)


def test_last_words_of_a_child_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiling, "_COMMAND", (sys.executable, "-c", "raise SystemExit('out of luck')"))
    with pytest.raises(RunError, match=r"ended with status 1 \(out of luck\)"):
        profile(BARE, runs=2)


def test_a_damaged_file_is_an_input_error(tmp_path: Path) -> None:
    path = tmp_path / "cut.tflite"
    path.write_bytes(BARE.read_bytes()[:600])
    with pytest.raises(InputError, match="is refused by"):
        profile(path, runs=2)
    with pytest.raises(InputError, match="runs is 0"):
        profile(BARE, runs=0)


def test_json_and_table_say_the_same(net_path: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    picture = tmp_path / "roof.png"
    assert main(["bench", str(net_path), "--ops", "--json", "--runs", "3", "--plot", str(picture)]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert set(row) == {
        *("model", "threads", "runs", "inference_ms", "profiled_ms", "ops_ms", "disturbed", "finding", "partitions"),
        *("ops", "unmapped", "kinds", "peak", "gemms", "copy_gbs", "provider", "machine", "throttled"),
    }
    assert row["ops"][3]["gemm"] == {"m": 1600, "n": 24, "k": 288, "groups": 1}
    assert row["ops"][1]["folded_into"] == 2
    drawn = cv2.imread(str(picture))
    assert drawn is not None
    assert drawn.shape == (900, 1600, 3)
    assert main(["bench", str(net_path), "--ops", "--runs", "3", "--threads", "1,2"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("left out: op 5 AVERAGE_POOL_2D") == 2
    assert printed.count("folded into op 2") == 2
    assert "1600x24x288" in printed
    assert "2 threads" in printed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--plot", "roof.png"], "--plot without --ops"),
        (["--ops", "--plot", "roof.txt"], "expected .png or .jpg"),
        (["--ops", "--plot", "no/such/folder/roof.png"], "no such folder"),
        (["--ops", "--threads", "1,2", "--plot", "roof.png"], "expected one of each"),
        (["--ops", "--inference-only"], "not allowed with"),
    ],
)
def test_flags_that_do_not_fit_are_told(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match=words):
        main(["bench", str(BARE), *arguments])
    assert capsys.readouterr().out == ""


def two_convolutions(times: tuple[tuple[float, float], ...]) -> Profile:
    """A made-up measurement of 1 MMAC over 30 kB and 0.09 MMAC depthwise over 20.9 kB; median and least ms of each."""
    tensors = {
        "0": TensorFact("in", (1, 10, 10, 100), "int8", False),
        "1": TensorFact("a", (1, 10, 10, 100), "int8", False),
        "2": TensorFact("b", (1, 10, 10, 100), "int8", False),
        "3": TensorFact("w", (100, 1, 1, 100), "int8", True),
        "4": TensorFact("v", (1, 3, 3, 100), "int8", True),
    }
    nodes = (
        NodeFact(0, "CONV_2D", (0, 3), (1,), True, ""),
        NodeFact(1, "DEPTHWISE_CONV_2D", (1, 4), (2,), True, ""),
    )
    names = ("Fully Connected (NC, QS8, QC8W) GEMM", "Convolution (NHWC, QC8) DWConv")
    events = tuple(EventFact(True, names[at], at, *times[at]) for at in range(2))
    whole = {"min": 1.0, "median": 1.0, "p95": 1.0}
    gemms = (GemmFact("int8", 8, 8, 8, 20.0),)
    return build("made.tflite", 1, 5, Measurement("made", tensors, nodes, 1, whole, 1.0, events, gemms, 4.0))


def test_busy_machines_are_noticed() -> None:
    quiet = two_convolutions(((0.11, 0.1), (0.1, 0.1)))
    assert (quiet.disturbed, quiet.ms[0]) == (False, 0.11)
    busy = two_convolutions(((0.9, 0.1), (0.1, 0.1)))
    assert (busy.disturbed, busy.ms[0], busy.ops[0].median_ms) == (True, 0.1, 0.9)
    assert busy.ops_ms == pytest.approx(0.2)
    assert busy.ops[0].gmacs == pytest.approx(10.0)
    assert busy.ops[0].peak_share == pytest.approx(0.5)


def test_picture_shows_each_op_where_it_belongs() -> None:
    """One disc of each colour; the faster op with more products per byte lies farther right and higher."""
    picture = draw(two_convolutions(((0.1, 0.1), (0.1, 0.1))))[:, :1130]
    centres = []
    for color in ((180, 100, 20), (30, 110, 230)):
        rows, columns = np.nonzero(np.all(picture == color, axis=2))
        assert len(rows) > 200
        centres.append((columns.mean(), rows.mean()))
    (x0, y0), (x1, y1) = centres
    # Both axes are logarithmic over the outermost values with a factor of 1.4 beside them: ridge 5, peak 20 GMAC/s.
    intensity, slow = 1e6 / 30000, 9e4 / 20900
    width = math.log(intensity * 1.4 / (slow / 1.4))
    assert x0 - x1 == pytest.approx(1040 * math.log(intensity / slow) / width, abs=3)
    height = math.log(20 * 1.4 / (0.9 / 1.4))
    assert y1 - y0 == pytest.approx(710 * math.log(10 / 0.9) / height, abs=3)


def test_nothing_to_plot_is_an_error() -> None:
    empty = dataclasses.replace(two_convolutions(((0.1, 0.1), (0.1, 0.1))), ops=(), finding="no luck")
    with pytest.raises(InputError, match="nothing to plot: no luck"):
        draw(empty)


# Channels of MobileNet v1 at three quarters of its width, and strides (https://arxiv.org/abs/1704.04861, table 1).
_PAIRS = [(48, 1), (96, 2), (96, 1), (192, 2), (192, 1), (384, 2), *[(384, 1)] * 5, (768, 2), (768, 1)]


def mobilenet_macs(size: int, width: int = 24) -> int:
    """Of the thirteen pairs of convolutions and the first one, counted from the paper's table."""
    size, channels = -(-size // 2), width
    total = size * size * 27 * width
    for out, stride in _PAIRS:
        size = -(-size // stride)
        total += size * size * channels * 9 + size * size * channels * out
        channels = out
    return total


@needs_shared
def test_a_detector_from_elsewhere(shared: Path) -> None:
    found = profile(shared / "zoo" / "ssd-mobilenet-v1-coco" / "detect.tflite", runs=6)
    assert found.unmapped == ()
    convolutions = [op for op in found.ops if op.name in ("CONV_2D", "DEPTHWISE_CONV_2D")]
    assert all(op.delegated and len(op.kernels) == 1 and op.ms for op in convolutions)
    assert len(found.ms) == len(found.ops) == 64
    # The least of each op against the least run: a busy machine lengthens every whole run of this size.
    least = sum(op.min_ms or 0.0 for op in found.ops)
    assert 0.05 < least / found.invoke_ms["min"] < 1.5
    body = [op for op in convolutions if "/Conv2d_" in op.outputs[0] and "pointwise_" not in op.outputs[0]]
    assert len(body) == 27
    assert sum(op.work.macs for op in body) == mobilenet_macs(300)
    assert {op.name for op in found.ops if not op.delegated} == {"CONCATENATION", "TFLite_Detection_PostProcess"}
    assert {fact.dtype for fact in found.gemms} == {"int8", "uint8"}


@needs_shared
@pytest.mark.parametrize(
    "name",
    [
        # Dynamic shapes and folded pads; float, and five partitions.
        "ultraface-rfb-320/version-RFB-320_without_postprocessing.tflite",
        "yolox-nano/yolox_nano.tflite",
    ],
)
def test_every_convolution_of_a_zoo_is_mapped(shared: Path, name: str) -> None:
    found = profile(shared / "zoo" / name, runs=2)
    assert found.finding == ""
    assert found.unmapped == ()
    convolutions = [op for op in found.ops if op.name in ("CONV_2D", "DEPTHWISE_CONV_2D") and op.delegated]
    assert all(op.kernels for op in convolutions)
    assert len(found.ms) == len(found.ops)
