"""Checks of Python and of what is installed."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import sys
from typing import Any

from runtime.cores import available_cores
from runtime.doctor.check import INSTALL, Check

MIN_PYTHON = (3, 11)
# Sum of the self-test's 512 output numbers; kernels may round each of them differently by one, seldom all one way.
_SELF_TEST_SUM = 8022
_SELF_TEST_TOLERANCE = 128
_PIN = re.compile(r"^([\w-]+)==([^;\s]+)(?:\s*;\s*(.*))?$")


def python() -> Check:
    """Its version."""
    version = platform.python_version()
    good = sys.version_info >= MIN_PYTHON
    fix = "" if good else f"install Python {'.'.join(map(str, MIN_PYTHON))} or later"
    where = "a virtual environment" if sys.prefix != sys.base_prefix else "the system's Python"
    return Check("python", good, f"{version} on {platform.system()} {platform.machine()}, {where}", fix)


def interpreter(facts: dict[str, Any]) -> Check:
    """Whether it runs the self-test model rightly."""
    if "error" not in facts:
        good = abs(facts["sum"] - _SELF_TEST_SUM) <= _SELF_TEST_TOLERANCE
        answer = "the right answer" if good else f"a wrong answer ({facts['sum']}, expected {_SELF_TEST_SUM})"
        detail = f"{facts['provider']} ran the self-test model and gave {answer}"
        return Check("interpreter", good, detail, "" if good else INSTALL)
    if "SIGILL" in facts["error"]:
        fix = (
            "this wheel needs a newer processor: use a 64-bit system, or instead of ai-edge-litert "
            "pip install tflite-runtime==2.14.0 'numpy<2' (Python up to 3.11)"
        )
    else:
        fix = INSTALL
    return Check("interpreter", False, f"the self-test model did not run: {facts['error']}", fix)


def wheel(facts: dict[str, Any]) -> Check:
    """Which package the interpreter came in, and whether it is one that Edgewren was tried with."""
    if "error" in facts:
        return Check("wheel", False, "not known, the interpreter does not run", INSTALL)
    name = facts["distribution"]
    try:
        found = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return Check("wheel", True, f"{name}, not installed by pip")
    tags = re.findall(r"^Tag: (.+)$", found.read_text("WHEEL") or "", re.MULTILINE)
    numpy = _version("numpy")
    detail = f"{name} {found.version} ({', '.join(tags) or 'no tag'}) with NumPy {numpy or 'of the system'}"
    if name == "tflite-runtime" and numpy and int(numpy.partition(".")[0]) >= 2:
        return Check("wheel", False, f"{detail}, built for NumPy 1", "pip install 'numpy<2'")
    wanted = {known: version for known, version in _pins().items() if known in (name, "numpy")}
    odd = {known: version for known, version in wanted.items() if (_version(known) or version) != version}
    if odd:
        return Check("wheel", True, f"{detail}; tried with {', '.join(f'{known} {odd[known]}' for known in odd)}")
    return Check("wheel", True, f"{detail}{', the versions Edgewren is tried with' if wanted else ''}")


def xnnpack(facts: dict[str, Any]) -> Check:
    """Whether int8 is as fast as it should be."""
    if "error" in facts:
        return Check("xnnpack", False, "not tested, the interpreter does not run", INSTALL)
    good = facts["delegated"] == facts["total"]
    detail = f"runs {facts['delegated']} of {facts['total']} int8 ops of the self-test model"
    if good:
        return Check("xnnpack", True, detail)
    if sys.maxsize < 1 << 32:
        fix = "install a 64-bit system: ai-edge-litert, which has XNNPACK for int8, is made for no other"
    else:
        fix = "pip install ai-edge-litert==2.3.0"
    return Check("xnnpack", False, detail, fix)


def threads(facts: dict[str, Any]) -> Check:
    """Whether the interpreter's threads have cores to run on."""
    cores, all_cores = available_cores(), os.cpu_count() or 1
    detail = f"{cores} of {all_cores} cores may be used"
    if "error" in facts:
        return Check("threads", True, detail)
    detail += f"; asked for 2 threads, the interpreter started {facts['workers']} beside the first"
    if cores < all_cores:
        return Check("threads", False, detail, f"lift the limit (taskset, CPUAffinity=), or give --threads {cores}")
    return Check("threads", True, detail)


def opencv() -> Check:
    """Whether it can be imported."""
    try:
        import cv2
    except ImportError as error:
        missing_gl = "libGL" in str(error)
        fix = "sudo apt install libgl1 libglib2.0-0, or pip install opencv-python-headless" if missing_gl else INSTALL
        return Check("opencv", False, str(error), fix)
    installed = [name for name in ("opencv-python", "opencv-python-headless") if _version(name)]
    detail = f"{cv2.__version__} ({', '.join(installed) or 'system package'})"
    if len(installed) > 1:
        fix = f"pip uninstall -y {' '.join(installed)}, then install the one that is wanted"
        return Check("opencv", False, f"{detail}, which write over each other's files", fix)
    return Check("opencv", True, detail)


def _pins() -> dict[str, str]:
    """The versions that the extra ``device`` asks for; nothing where Edgewren itself is not installed."""
    try:
        lines = importlib.metadata.requires("edgewren") or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    pins = (_PIN.match(line) for line in lines)
    return {pin[1]: pin[2] for pin in pins if pin and 'extra == "device"' in (pin[3] or "")}


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""
