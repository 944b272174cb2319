"""Which interpreter is used, and what happens without one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from runtime.errors import RunError
from runtime.provider import provider, quiet_native_log
from tests.conftest import ROOT, picture

# Lets a chosen set of modules look as if they were not installed.
HIDE = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in HIDDEN:
            raise ImportError(f"{name} is hidden")
sys.meta_path.insert(0, Hidden())
"""


def run(hidden: set[str], code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", f"HIDDEN = {hidden!r}\n{HIDE}\n{code}", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


def test_litert_comes_first() -> None:
    assert provider().name == "litert"
    assert str(provider()).startswith("litert 2.")


DETECT = """
import sys
from runtime.cli import main
from runtime.commandline import run
sys.exit(run(main, ["detect", sys.argv[1], sys.argv[2], "--score", "0.1", "--json"]))
"""


def test_tensorflow_is_the_last_resort_and_finds_the_same(tiny_model: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "photo.png"), picture(3, 160, 120))
    results = []
    for hidden in (set(), {"ai_edge_litert", "tflite_runtime"}):
        done = run(hidden, DETECT, tiny_model, tmp_path / "photo.png")
        assert done.returncode == 0, done.stderr
        results.append(eval(done.stdout)["detections"])
    assert [row["label"] for row in results[0]] == [row["label"] for row in results[1]]
    np.testing.assert_allclose([r["box"] for r in results[0]], [r["box"] for r in results[1]], atol=2)


CHOSEN = """
from runtime.commandline import run
from runtime.provider import provider
def show(argv):
    print(provider().name)
    return 0
sys.exit(run(show, []))
"""


@pytest.mark.parametrize(
    ("choice", "hidden", "status", "said"),
    [
        ("", set(), 0, "litert\n"),
        ("litert", set(), 0, "litert\n"),
        ("tensorflow", set(), 0, "tensorflow\n"),
        (
            "tensorflow",
            {"tensorflow"},
            1,
            "expected tensorflow, which EDGEWREN_PROVIDER asks for; pip",
        ),
        ("tflite_runtime", {"tflite_runtime"}, 1, "pip install tflite-runtime, or unset EDGEWREN_PROVIDER"),
        (
            "onnx",
            set(),
            2,
            "is 'onnx'; expected one of litert, tflite_runtime, tensorflow; unset EDGEWREN_PROVIDER",
        ),
    ],
)
def test_choice_of_a_provider(
    choice: str, hidden: set[str], status: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEWREN_PROVIDER", choice)
    done = run(hidden, CHOSEN)
    assert done.returncode == status
    assert said in (done.stdout if status == 0 else done.stderr)


def test_no_interpreter_at_all_is_one_line(tiny_model: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "photo.png"), picture(3, 160, 120))
    done = run({"ai_edge_litert", "tflite_runtime", "tensorflow"}, DETECT, tiny_model, tmp_path / "photo.png")
    assert done.returncode == 1
    assert done.stderr.startswith("error: no TensorFlow Lite interpreter (ai-edge-litert: ")
    assert done.stderr.rstrip().endswith("pip install 'edgewren[device]'")
    assert done.stderr.count("\n") == 1


def test_the_reason_of_each_provider_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.provider._PROVIDERS", (("x", "no_such_module", "Interpreter", "load", "x-package"),))
    provider.cache_clear()
    with pytest.raises(RunError, match="x-package: No module named 'no_such_module'"):
        provider()
    monkeypatch.undo()
    provider.cache_clear()


def test_a_program_without_stderr_can_open_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    with quiet_native_log() as lines:
        pass
    assert lines == []


def test_native_notices_are_held_back_and_warnings_handed_over(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet_native_log() as lines:
        subprocess.run(["sh", "-c", "echo 'INFO: hello' >&2; echo 'WARNING: careful' >&2"], check=True)
    assert capfd.readouterr().err == ""
    assert lines == ["WARNING: careful"]
    print("afterwards", file=sys.stderr)
    assert capfd.readouterr().err == "afterwards\n"


def test_stderr_is_back_whichever_of_two_threads_ends_first(capfd: pytest.CaptureFixture[str]) -> None:
    """As two threads do that open models at once: the second begins before the first ends, and ends after it."""
    before = os.fstat(2)
    first, second = quiet_native_log(), quiet_native_log()
    os.write(2, b"before\n")
    ours = first.__enter__()
    os.write(2, b"WARNING: one\n")
    theirs = second.__enter__()
    os.write(2, b"WARNING: two\n")
    first.__exit__(None, None, None)
    os.write(2, b"WARNING: three\n")
    second.__exit__(None, None, None)
    assert (os.fstat(2).st_dev, os.fstat(2).st_ino) == (before.st_dev, before.st_ino)
    os.write(2, b"afterwards\n")
    assert capfd.readouterr().err == "before\nafterwards\n"
    assert ours == ["WARNING: one", "WARNING: two"]
    assert theirs == ["WARNING: two", "WARNING: three"]
