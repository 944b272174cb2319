"""Checks of the machine, each with the line that fixes it.

The interpreter runs in a child process: a wheel built for a newer processor dies by an illegal instruction, and that
must be a finding.
"""

from __future__ import annotations

import glob
import importlib.metadata
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from runtime import board

MIN_PYTHON = (3, 11)
_MIN_FREE_MB = 500
_HOT_CELSIUS = 80
# Sum of the self-test's 512 output numbers; kernels may round each of them differently by one, seldom all one way.
_SELF_TEST_SUM = 8022
_SELF_TEST_TOLERANCE = 128
SELF_TEST_MODEL = Path(__file__).with_name("data") / "selftest.tflite"
_INSTALL = "pip install 'edgewren[device]'"


@dataclass(frozen=True)
class Check:
    """One finding: what was looked at, whether it is good, what was seen, and how to fix it."""

    name: str
    ok: bool
    detail: str
    fix: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def examine() -> list[Check]:
    """Runs all checks; none of them raises."""
    self_test = _run_self_test()
    checks: list[Callable[[], Check]] = [
        _python,
        lambda: _interpreter(self_test),
        lambda: _xnnpack(self_test),
        _opencv,
        _processor,
        _camera,
        _disk,
        _power,
    ]
    return [check() for check in checks]


def self_test_facts() -> dict[str, Any]:
    """Runs the tiny bundled model in this process; the child's half of the check."""
    import numpy as np

    from runtime.engine import Engine
    from runtime.ops import list_ops

    engine = Engine(SELF_TEST_MODEL)
    engine.input_view()[:] = np.arange(engine.inputs[0].shape[1])[None, :, None, None] - 16
    engine.invoke()
    ops = list_ops(engine)
    return {
        "provider": engine.provider,
        "delegated": ops.delegated,
        "total": len(ops.ops),
        "sum": int(sum(int(engine.output_view(i).astype(np.int64).sum()) for i in range(len(engine.outputs)))),
    }


def _run_self_test() -> dict[str, Any]:
    code = "import json; from runtime.doctor import self_test_facts; print(json.dumps(self_test_facts()))"
    root = str(Path(__file__).resolve().parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return {"error": str(error)}
    if done.returncode < 0:
        return {"error": f"killed by {signal.Signals(-done.returncode).name}"}
    try:
        facts: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        return {"error": (done.stderr.strip().splitlines() or ["no output"])[-1]}
    return facts


def _python() -> Check:
    version = platform.python_version()
    good = sys.version_info >= MIN_PYTHON
    fix = "" if good else f"install Python {'.'.join(map(str, MIN_PYTHON))} or later"
    return Check("python", good, f"{version} on {platform.system()} {platform.machine()}", fix)


def _interpreter(facts: dict[str, Any]) -> Check:
    if "error" not in facts:
        good = abs(facts["sum"] - _SELF_TEST_SUM) <= _SELF_TEST_TOLERANCE
        answer = "the right answer" if good else f"a wrong answer ({facts['sum']}, expected {_SELF_TEST_SUM})"
        detail = f"{facts['provider']} ran the self-test model and gave {answer}"
        return Check("interpreter", good, detail, "" if good else _INSTALL)
    if "SIGILL" in facts["error"]:
        fix = "this wheel needs a newer processor; install tflite-runtime instead of ai-edge-litert"
    else:
        fix = _INSTALL
    return Check("interpreter", False, f"the self-test model did not run: {facts['error']}", fix)


def _xnnpack(facts: dict[str, Any]) -> Check:
    if "error" in facts:
        return Check("xnnpack", False, "not tested, the interpreter does not run", _INSTALL)
    good = facts["delegated"] == facts["total"]
    detail = f"runs {facts['delegated']} of {facts['total']} int8 ops of the self-test model"
    return Check("xnnpack", good, detail, "" if good else "pip install ai-edge-litert==2.3.0")


def _opencv() -> Check:
    try:
        import cv2
    except ImportError as error:
        missing_gl = "libGL" in str(error)
        fix = "sudo apt install libgl1 libglib2.0-0, or pip install opencv-python-headless" if missing_gl else _INSTALL
        return Check("opencv", False, str(error), fix)
    installed = [name for name in ("opencv-python", "opencv-python-headless") if _version(name)]
    return Check("opencv", True, f"{cv2.__version__} ({', '.join(installed) or 'system package'})")


def _processor() -> Check:
    features = " ".join(board.cpu_features()) or "none of the int8 extensions known here"
    return Check("processor", True, f"{board.cpu_name()}, {board.available_cores()} cores, {features}")


def _camera() -> Check:
    devices = sorted(glob.glob("/dev/video*"))
    if not devices:
        return Check("camera", True, "none found; videos, images and network streams work without one")
    if not any(os.access(device, os.R_OK | os.W_OK) for device in devices):
        fix = "sudo usermod -aG video $USER, then log in again"
        return Check("camera", False, f"no permission for {', '.join(devices)}", fix)
    return Check("camera", True, ", ".join(devices))


def _disk() -> Check:
    free = shutil.disk_usage(Path.cwd()).free >> 20
    good = free >= _MIN_FREE_MB
    return Check("disk", good, f"{free} MiB free here", "" if good else f"free at least {_MIN_FREE_MB} MiB")


def _power() -> Check:
    throttle, degrees = board.throttle(), board.temperature()
    slowed = bool(throttle.now) if throttle else None
    heat = "temperature unknown" if degrees is None else f"{degrees:.0f} degrees C"
    power = {None: "throttling unknown (no vcgencmd)", False: "not throttled", True: "throttled now"}[slowed]
    good = not slowed and (degrees is None or degrees < _HOT_CELSIUS)
    fix = "" if good else "use the board's own power supply and a fan or heat sink"
    return Check("power", good, f"{heat}, {power}", fix)


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""
