"""External delegates: a real library, compiled here, that works, claims nothing or fails in every way there is."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from runtime import Detector
from runtime.cli import main
from runtime.engine import Engine
from runtime.errors import InputError
from runtime.ops import list_ops
from tests.conftest import ROOT, picture, run_module
from tests.runtime.op_nets import Int8Net


def compiled(source: Path, target: Path) -> Path:
    if not shutil.which("gcc"):
        pytest.skip("no gcc on this machine (apt install gcc)")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(target), "-x", "c", str(source)], check=True)
    return target


@pytest.fixture(scope="module")
def sevens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A delegate; what it runs, it answers with sevens."""
    return compiled(ROOT / "tests" / "runtime" / "delegates.c", tmp_path_factory.mktemp("delegate") / "sevens.so")


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ADD, CONV_2D, ADD."""
    net = Int8Net((1, 8, 8, 16))
    net.double()
    net.conv(4)
    net.graph.outputs = [net.double()]
    return net.write(tmp_path_factory.mktemp("net") / "net.tflite")


def answer(engine: Engine) -> np.ndarray:
    engine.input_view()[...] = 3
    engine.invoke()
    return engine.output_view(0).copy()


def test_delegate_runs_what_it_takes_and_xnnpack_the_rest(sevens: Path, net: Path) -> None:
    engine = Engine(net, delegate=f"{sevens}:take=0")
    assert engine.delegate is not None
    assert (engine.delegate.used, engine.delegate.ops, engine.delegate.name) == (True, (0, 2), str(sevens))
    assert (answer(engine) == 7).all()
    ops = list_ops(engine)
    assert (ops.delegated, ops.partitions) == (3, 3)
    # The convolution in the middle alone: what it fills with sevens, the interpreter doubles.
    middle = Engine(net, delegate=f"{sevens}:take=3")
    assert middle.delegate is not None
    assert middle.delegate.ops == (1,)
    assert (answer(middle) == 14).all()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("", "it takes no op of this model"),
        (":take=99", "it takes no op of this model"),
        (":fail=create", "it cannot start (no such device)"),
        (":fail=prepare", "it refuses this model ("),
    ],
)
def test_delegate_of_no_use(
    options: str, reason: str, sevens: Path, net: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    engine = Engine(net, delegate=f"{sevens}{options}")
    assert engine.delegate is not None
    assert not engine.delegate.used
    assert reason in engine.delegate.reason
    assert "\n" not in engine.delegate.reason
    np.testing.assert_array_equal(answer(engine), answer(Engine(net)))
    assert list_ops(engine).partitions == 1
    del engine
    assert capfd.readouterr().err == ""


def test_no_delegate_at_all(net: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    empty = tmp_path / "empty.c"
    empty.write_text("")
    for name, reason in (
        ("libno-such-tpu.so.1", "the library cannot be loaded (libno-such-tpu.so.1: cannot open"),
        (str(empty), "the library cannot be loaded ("),
        (str(compiled(empty, tmp_path / "empty.so")), "is no TensorFlow Lite delegate (it has no tflite_plugin_create"),
    ):
        engine = Engine(net, delegate=name)
        assert engine.delegate is not None
        assert reason in engine.delegate.reason
        np.testing.assert_array_equal(answer(engine), answer(Engine(net)))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("text", ["", ":take=0", "lib.so:take", "lib.so:", "lib.so:=3", "lib.so:take=0,"])
def test_badly_written(text: str, net: Path) -> None:
    with pytest.raises(InputError, match="expected LIBRARY or LIBRARY:KEY=VALUE,KEY=VALUE"):
        Engine(net, delegate=text)


def test_model_that_needs_its_delegate(tmp_path: Path) -> None:
    """An op that only a device knows: the one error line says why the device is not there."""
    net = Int8Net((1, 8, 8, 16))
    net.add("edgetpu-custom-op", net.shape)
    net.graph.outputs = [net.last]
    with pytest.raises(InputError) as caught:
        Engine(net.write(tmp_path / "compiled.tflite"), delegate="libno-such-tpu.so.1")
    assert "edgetpu-custom-op" in str(caught.value)
    assert "delegate libno-such-tpu.so.1: the library cannot be loaded" in str(caught.value)


def test_detector(sevens: Path, tiny_model: Path) -> None:
    # 3 is CONV_2D.
    with Detector.open(tiny_model, delegate=f"{sevens}:take=3") as taken, Detector.open(tiny_model) as plain:
        assert taken.executor.delegate.ops  # type: ignore[attr-defined]
        assert plain.executor.delegate is None  # type: ignore[attr-defined]
        taken.detect(picture(3))


@pytest.mark.parametrize("provider", ["litert", "tensorflow"])
def test_commands_say_it_once(
    provider: str, sevens: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEWREN_PROVIDER", provider)
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    cv2.imwrite(str(tmp_path / "photo.png"), picture(3, 160, 120))
    note = f"note: delegate {sevens} is not used: it cannot start (no such device); XNNPACK runs the model\n"
    lame = ["--delegate", f"{sevens}:fail=create"]
    commands: list[list[object]] = [["detect", tmp_path / "photo.png", tmp_path / "photo.png"], ["info"]]
    for command, *rest in commands if provider == "litert" else commands[1:]:
        done = run_module("runtime", command, tiny_model, *rest, "--json", *lame)
        assert (done.returncode, done.stderr.count(note)) == (0, 1), done.stderr
        if provider == "litert":
            assert done.stderr == note
    facts = json.loads(done.stdout)
    assert facts["provider"].startswith(provider)
    assert facts["delegate"] == {
        "name": str(sevens), "used": False, "reason": "it cannot start (no such device)", "ops": []
    }  # fmt: skip


def test_info_tells_who_runs_what(sevens: Path, net: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(net), "--delegate", f"{sevens}:take=3"]) == 0
    said = capsys.readouterr()
    assert f"{sevens} (1 ops) and XNNPACK run 3 of 3 ops in 3 partition(s)" in said.out
    assert said.err == ""
