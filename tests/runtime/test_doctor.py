"""The doctor on machines that are ill."""

from __future__ import annotations

import grp
import importlib.metadata
import json
import os
import platform
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from runtime import board, doctor
from runtime.cores import available_cores
from runtime.doctor import hardware, software
from tests.conftest import ROOT


def checks() -> dict[str, doctor.Check]:
    return {check.name: check for check in doctor.examine()}


def facts(delegated: int, total: int, distribution: str = "ai-edge-litert") -> str:
    """A child that says so."""
    said = {"provider": "litert 9", "distribution": distribution, "delegated": delegated, "total": 9, "workers": 1}
    return f"echo '{json.dumps(said | {'sum': total})}'"


def script(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_illegal_instruction_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that the child loads, as a wheel for a newer processor would be, and that really dies."""
    if not shutil.which("gcc"):
        pytest.skip("no gcc on this machine (apt install gcc)")
    source, library = tmp_path / "newer.c", tmp_path / "newer.so"
    source.write_text("__attribute__((constructor)) static void start(void) { __asm__ volatile(ILLEGAL); }\n")
    illegal = '"ud2"' if platform.machine() in ("x86_64", "i686") else '".inst 0x0"'
    subprocess.run(["gcc", "-shared", "-fPIC", f"-DILLEGAL={illegal}", "-o", library, source], check=True)
    monkeypatch.setenv("LD_PRELOAD", str(library))
    found = checks()
    assert not found["interpreter"].ok
    assert "killed by SIGILL" in found["interpreter"].detail
    assert "newer processor" in found["interpreter"].fix
    assert not found["xnnpack"].ok
    assert not found["wheel"].ok


@pytest.mark.parametrize(
    ("output", "detail"),
    [
        ("echo ModuleNotFoundError: no litert >&2; exit 1", "no litert"),
        (facts(3, 8022), "litert 9 ran"),
        (facts(9, -5), "a wrong answer (-5, expected 8022)"),
    ],
)
def test_interpreter_that_fails_or_lies(
    output: str, detail: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(tmp_path, "python", output)
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    found = checks()
    assert detail in found["interpreter"].detail
    assert found["interpreter"].ok == ("8022" in output)
    assert found["xnnpack"].ok == ('"delegated": 9' in output)


@pytest.mark.parametrize(
    ("answer", "slowed"),
    [("throttled=0x0", False), ("throttled=0x50000", False), ("throttled=0x50005", True), ("nonsense", None)],
)
def test_throttle_bits(answer: str, slowed: bool | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bits from 16 on say what has been since boot; only the low ones are true now."""
    script(tmp_path, "vcgencmd", f"echo {answer}")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    throttle = board.throttle()
    assert (bool(throttle.now) if throttle else None) is slowed
    power = checks()["power"]
    assert power.ok is not slowed or slowed is None
    if slowed is None:
        assert power.detail == "throttling unknown (vcgencmd does not say)"
    if slowed:
        assert "power supply" in power.fix
        assert power.detail == "under-voltage, throttled; since the start: under-voltage, throttled"


@pytest.mark.parametrize(
    ("bits", "celsius", "heat", "power"),
    [
        ("0x0", 62.4, True, True),
        ("0x0", 81, False, True),
        ("0x8", 71, False, True),
        ("0xe0006", 84, False, True),
        # Throttled by the supply, not by heat.
        ("0x50005", 51, True, False),
        ("0x5000d", 83, False, False),
    ],
)
def test_heat_and_power(
    bits: str, celsius: float, heat: bool, power: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(tmp_path, "vcgencmd", f"echo throttled={bits}")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    put(tmp_path / "sys/class/thermal/thermal_zone0/temp", f"{celsius * 1000:.0f}\n")
    put(tmp_path / "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "1500000\n")
    monkeypatch.setattr(board, "SYSFS", tmp_path / "sys")
    found = checks()
    assert (found["heat"].ok, found["power"].ok) == (heat, power)
    assert found["heat"].detail.startswith(f"{celsius:.0f} degrees C, 1500 MHz")
    assert ("fan" in found["heat"].fix) is not heat


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_csi_camera(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board, "SYSFS", tmp_path)
    for at, name in enumerate(("unicam", "rp1-cfe-csi2-ch0", "pispbe-input")):
        put(tmp_path / f"class/video4linux/v4l-subdev{at}/name", f"{name}\n")
    assert hardware.csi_camera() == doctor.Check("csi camera", True, "none connected")
    put(tmp_path / "class/video4linux/v4l-subdev3/name", "imx708\n")
    without = hardware.csi_camera()
    assert not without.ok
    assert "imx708; Picamera2 cannot be imported (ModuleNotFoundError: No module named 'libcamera')" in without.detail
    assert "--system-site-packages" in without.fix
    for name in ("libcamera", "picamera2"):
        put(tmp_path / "modules" / f"{name}.py", "")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "modules"))
    assert hardware.csi_camera() == doctor.Check("csi camera", True, "imx708, through Picamera2")
    # As it is where Picamera2's parts were built for another NumPy.
    put(tmp_path / "modules" / "picamera2.py", "raise ValueError('numpy.dtype size changed')")
    assert "numpy.dtype size changed" in hardware.csi_camera().detail


@pytest.mark.parametrize(
    ("groups", "members", "cameras", "good", "fix"),
    [
        ([44], [], True, True, ""),
        ([27], ["me"], True, False, "log in again"),
        ([27], [], True, False, "usermod -aG video"),
        ([27], [], False, True, ""),
    ],
)
def test_permissions(
    groups: list[int],
    members: list[str],
    cameras: bool,
    good: bool,
    fix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Users and groups of a Raspberry Pi: the test may run as root, and video may have any number here."""
    monkeypatch.setattr(hardware, "_user", lambda: "me")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "getegid", lambda: 1000)
    monkeypatch.setattr(os, "getgroups", lambda: groups)
    monkeypatch.setattr("grp.getgrnam", lambda name: grp.struct_group((name, "x", 44, members)))
    if cameras:
        put(tmp_path / "video0", "")
    monkeypatch.setattr(hardware, "_DEVICES", str(tmp_path / "video*"))
    found = hardware.permissions()
    assert found.ok is good
    assert fix in found.fix


def test_camera_that_may_not_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "video0", "")
    monkeypatch.setattr(os, "access", lambda *_: False)  # root, who may run this, may open everything
    monkeypatch.setattr(hardware, "_DEVICES", str(tmp_path / "video*"))
    assert "usermod" in hardware.camera().fix


def test_cameras_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "video0", "")
    put(tmp_path / "class/video4linux/video0/name", "HD Pro Webcam C920\n")
    monkeypatch.setattr(board, "SYSFS", tmp_path)
    monkeypatch.setattr(hardware, "_DEVICES", str(tmp_path / "video*"))
    assert hardware.camera() == doctor.Check("camera", True, f"{tmp_path}/video0 (HD Pro Webcam C920)")


def test_decoders_and_receivers_are_no_cameras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of a Raspberry Pi 4 and 5, which have most of these with nothing plugged in."""
    codecs = ("bcm2835-codec-decode", "bcm2835-isp-capture0", "rpi-hevc-dec", "pispbe-input")
    for at, name in enumerate((*codecs, "rp1-cfe-csi2_ch0", "unicam-image"), 10):
        put(tmp_path / f"video{at}", "")
        put(tmp_path / f"class/video4linux/video{at}/name", f"{name}\n")
    monkeypatch.setattr(board, "SYSFS", tmp_path)
    monkeypatch.setattr(hardware, "_DEVICES", str(tmp_path / "video*"))
    found = hardware.camera()
    assert found.ok
    assert found.detail.startswith("none found")
    put(tmp_path / "video0", "")
    put(tmp_path / "class/video4linux/video0/name", "USB Display Camera\n")
    assert hardware.camera().detail == f"{tmp_path}/video0 (USB Display Camera)"


def test_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board, "free_memory_mb", lambda: 80.2)
    assert hardware.memory().detail == "80 MiB free"
    assert "swap" in hardware.memory().fix


def test_wheel_of_this_machine() -> None:
    """The environment is made of the pins."""
    found = checks()["wheel"]
    assert found.ok
    assert found.detail.startswith(f"ai-edge-litert {importlib.metadata.version('ai-edge-litert')} (cp3")
    assert found.detail.endswith(", the versions Edgewren is tried with")


@pytest.mark.parametrize(
    ("distribution", "versions", "good", "said"),
    [
        ("ai-edge-litert", {"ai-edge-litert": "1.2.0"}, True, "ai-edge-litert 1.2.0 (cp311-cp311-linux_armv7l)"),
        ("ai-edge-litert", {"ai-edge-litert": "1.2.0"}, True, "; tried with ai-edge-litert 2.3.0"),
        ("tflite-runtime", {"tflite-runtime": "2.14.0", "numpy": "2.0.1"}, False, "built for NumPy 1"),
        ("tflite-runtime", {"tflite-runtime": "2.14.0", "numpy": "1.26.4"}, True, "with NumPy 1.26.4"),
        ("none-such", {}, True, "none-such, not installed by pip"),
    ],
)
def test_wheels_of_others(
    distribution: str, versions: dict[str, str], good: bool, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Packages as pip leaves them, in front of those that are installed."""
    for name, version in versions.items():
        folder = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
        put(folder / "METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        put(folder / "WHEEL", "Wheel-Version: 1.0\nTag: cp311-cp311-linux_armv7l\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = software.wheel({"distribution": distribution})
    assert found.ok is good
    assert said in found.detail
    assert ("numpy<2" in found.fix) is not good


def test_fewer_cores_than_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(software, "available_cores", lambda: 1)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    found = software.threads({"workers": 1})
    assert found.detail == "1 of 4 cores may be used; asked for 2 threads, the interpreter started 1 beside the first"
    assert "--threads 1" in found.fix


def test_no_more_threads_than_cores_that_may_be_used() -> None:
    program = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
    program += "from runtime.opening import default_threads; print(default_threads())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


def test_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("usage", (), {"free": 100 << 20})())
    assert not checks()["disk"].ok


def test_facts_about_this_machine() -> None:
    assert board.cpu_name()
    assert 1 <= available_cores() <= (os.cpu_count() or 1)
    # A process of its own: one that has trained keeps its memory.
    program = """
from runtime import board
before = board.peak_rss_mb()
kept = bytearray(60 << 20)
assert board.peak_rss_mb() >= before + 50
del kept
board.reset_peak_rss()
assert board.peak_rss_mb() < before + 50
"""
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


def test_in_a_process_of_its_own_no_other_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "run_self_test", lambda: pytest.fail("a child process"))
    checks = {check.name: check for check in doctor.examine(apart=False)}
    assert checks["interpreter"].ok, checks["interpreter"]
