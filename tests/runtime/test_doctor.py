"""The doctor on machines that are ill."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from runtime import board, doctor
from tests.conftest import ROOT


def checks() -> dict[str, doctor.Check]:
    return {check.name: check for check in doctor.examine()}


def script(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_illegal_instruction_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(tmp_path, "python", "kill -ILL $$")
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    found = checks()
    assert not found["interpreter"].ok
    assert "SIGILL" in found["interpreter"].detail
    assert "newer processor" in found["interpreter"].fix
    assert not found["xnnpack"].ok


@pytest.mark.parametrize(
    ("output", "detail"),
    [
        ("echo ModuleNotFoundError: no litert >&2; exit 1", "no litert"),
        ('echo \'{"provider": "x 1", "delegated": 3, "total": 9, "sum": 8022}\'', "x 1 ran"),
        ('echo \'{"provider": "x 1", "delegated": 9, "total": 9, "sum": -5}\'', "a wrong answer (-5, expected 8022)"),
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
    if slowed:
        assert "power supply" in power.fix


def test_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("usage", (), {"free": 100 << 20})())
    assert not checks()["disk"].ok


def test_facts_about_this_machine() -> None:
    assert board.cpu_name()
    assert board.available_cores() >= 1
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
