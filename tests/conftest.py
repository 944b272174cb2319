"""What the tests share: data that may be absent, the oracle environment, and one small converted model."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from runtime.frame import Frame
from tests.nets import tiny_detector

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("EDGEWREN_SHARED", ROOT.parent / "shared"))
ORACLE_PYTHON = ROOT / ".venv-oracle" / "bin" / "python"
NO_SKIP = os.environ.get("EDGEWREN_NO_SKIP") == "1"
SHARED_ABSENT = "needs real weights and pictures in EDGEWREN_SHARED (default ../shared)"

WITH_MACHINES = os.environ.get("EDGEWREN_MACHINES") == "1"

# How long an example takes says more of the machine than of the code.
settings.register_profile("patient", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason=SHARED_ABSENT)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Where nothing may be skipped (.ci/run), a skip is a failure, but for data that really is not there."""
    report = yield
    if NO_SKIP and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if SHARED_ABSENT not in reason or SHARED.is_dir():
            report.outcome = "failed"
            report.longrepr = f"skipped, but nothing may be skipped here: {reason}"
    return report


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves the tests of whole machines out, but where they are asked for: they take minutes."""
    if WITH_MACHINES:
        return
    left_out = [item for item in items if item.get_closest_marker("machine")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("machine")]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real weights, pictures and videos."""
    if not SHARED.is_dir():
        pytest.skip(SHARED_ABSENT)
    return SHARED


@pytest.fixture(scope="session")
def oracle() -> Callable[..., Any]:
    """Runs a script of ``tests/oracles`` in the oracle environment; returns the JSON it prints, if any."""
    if not (ORACLE_PYTHON.parents[1] / ".ready").exists():
        pytest.skip("the oracle environment is not installed (make test does it where the package index is reachable)")

    def run(script: str, *arguments: object) -> Any:
        command = [str(ORACLE_PYTHON), str(ROOT / "tests" / "oracles" / script), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(done.stdout) if done.stdout else None

    return run


@pytest.fixture(scope="session")
def browser_path() -> str:
    """A Chromium on this machine."""
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        if found := shutil.which(name):
            return found
    pytest.skip("no Chromium on this machine (apt install chromium)")


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of eight made pictures of several sizes: coloured shapes on gradients."""
    folder = tmp_path_factory.mktemp("photos")
    for index in range(8):
        cv2.imwrite(str(folder / f"photo{index}.png"), picture(index))
    return folder


def picture(seed: int, width: int | None = None, height: int | None = None) -> np.ndarray:
    """A made picture, ``(h, w, 3)`` uint8: shapes of all colours on a gradient."""
    random = np.random.default_rng(seed)
    width, height = width or int(random.integers(90, 200)), height or int(random.integers(70, 160))
    ramp = np.linspace(0, 255, width)[None, :, None] * np.linspace(0.2, 1, height)[:, None, None]
    canvas = np.ascontiguousarray(np.broadcast_to(ramp, (height, width, 3)).astype(np.uint8))
    for _ in range(8):
        centre = (int(random.integers(0, width)), int(random.integers(0, height)))
        color = tuple(int(value) for value in random.integers(0, 256, 3))
        cv2.circle(canvas, centre, int(random.integers(5, 40)), color, -1)
    return canvas


@pytest.fixture(scope="session")
def tiny_cfg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Darknet detector with random weights: 64x64, two heads, three classes."""
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "tiny.names").write_text("wren\nrobin\nfinch\n")
    return tiny_detector().write(folder, "tiny")


@pytest.fixture(scope="session")
def tiny_model(tiny_cfg: Path, photos: Path) -> Path:
    """The small detector as an int8 model file, made by the program itself."""
    target = tiny_cfg.with_suffix(".tflite")
    done = run_module("convert", "quantize", tiny_cfg, "-o", target, "--calibration", photos)
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture
def frame() -> Frame:
    """One made picture."""
    return Frame(picture(3, 160, 120), "bgr", "made.png")


def run_module(module: str, *arguments: object, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """Runs ``python -m module arguments`` as a user would."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=timeout, check=False)
