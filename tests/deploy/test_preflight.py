"""Findings before anything changes: as a table, and against a real sshd."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from convert.stopwatch.address import Address
from deploy import preflight
from deploy.cli import main
from deploy.preflight import Facts, ask, examine
from deploy.settings import Settings, Target, settings_from
from runtime.errors import InputError
from tests.conftest import run_module
from tests.convert.boards import Board

GOOD: dict[str, Any] = {
    "time": 0.0, "system": "Linux", "os": "Debian GNU/Linux 12 (bookworm)", "codename": "bookworm",
    "machine": "aarch64", "bits": 64, "model": "Raspberry Pi 4", "python": [3, 11, 2], "glibc": "2.36", "venv": True,
    "systemd": 252, "opt_mb": 4000, "home_mb": 4000, "var_mb": 4000, "memory_mb": 900, "available_mb": 500,
    "cameras": ["/dev/video0"], "video_group": True, "user": "pi", "groups": ["pi", "video"], "sudo": "free",
    "modules": [], "listener": "", "release": "", "active": False, "unfinished": False, "stored": [],
}  # fmt: skip
CASES: list[tuple[str, dict[str, Any], str, str, str]] = [
    ("system", {"systemd": 0}, "0", "no systemd", "Raspberry Pi OS"),
    ("system", {"system": "FreeBSD"}, "0", "runs FreeBSD", "bookworm or trixie"),
    ("architecture", {"machine": "armv6l", "bits": 32}, "0", "armv6l", "64-bit"),
    ("architecture", {"machine": "x86_64", "bits": 32}, "0", "x86_64, 32 bits", "64-bit"),
    ("architecture", {"machine": "aarch64", "bits": 32, "python": [3, 13, 5]}, "0", "Python 3.13", "64-bit"),
    ("architecture", {"machine": "armv7l", "bits": 32, "modules": ["numpy"]}, "0", "without cv2", "python3-opencv"),
    ("python", {"python": [3, 9, 2]}, "0", "3.9 is too old", "upgrade"),
    ("python", {"venv": False}, "0", "module venv", "python3-venv"),
    ("disk", {"opt_mb": 12}, "0", "12 MiB free for /opt", "apt clean"),
    ("disk", {"home_mb": 50}, "0", "the wheelhouse needs", "apt clean"),
    ("memory", {"memory_mb": 200}, "0", "200 MiB", "512 MB"),
    ("camera", {"cameras": []}, "0", "it has no camera", "SOURCE="),
    ("camera", {"cameras": ["/dev/video1"]}, "v4l2:///dev/video4", "/dev/video4 is not there", "SOURCE="),
    ("camera", {}, "csi://0", "Picamera2", "python3-picamera2"),
    ("camera", {"video_group": False}, "0", "group video", "groupadd"),
    ("sudo", {"sudo": "no"}, "0", "may not use sudo", "usermod -aG sudo pi"),
    ("sudo", {"sudo": "password"}, "0", "password", "EDGEWREN_SUDO_PASSWORD"),
    ("port", {"listener": "python3 -m apps.live m 0 (pid 71)"}, "0", "old release", "sudo kill 71, or give PORT=8081"),
]


@pytest.fixture
def target(tmp_path: Path) -> Target:
    return Target("board", Address.parse("pi@board"), Settings(tmp_path / "m.tflite"))


def test_a_good_board_has_no_finding(target: Target) -> None:
    assert all(finding.ok and not finding.fix for finding in examine(target, Facts(GOOD, 0.5)))


@pytest.mark.parametrize(("name", "values", "source", "seen", "fix"), CASES)
def test_each_finding_has_its_fix(
    tmp_path: Path, name: str, values: dict[str, Any], source: str, seen: str, fix: str
) -> None:
    target = Target("board", Address.parse("pi@board"), Settings(tmp_path / "m.tflite", source))
    bad = [finding for finding in examine(target, Facts(GOOD | values, 0)) if not finding.ok]
    assert [finding.name for finding in bad] == [name]
    assert seen in bad[0].seen
    assert fix in bad[0].fix


@pytest.mark.parametrize(("skew", "ok", "words"), [(30, True, ""), (300, True, "set-ntp"), (-315e6, False, "set-ntp")])
def test_the_clock(target: Target, skew: float, ok: bool, words: str) -> None:
    clock = next(finding for finding in examine(target, Facts(GOOD, skew)) if finding.name == "clock")
    assert clock.ok == ok
    assert words in clock.fix
    assert ok or "3646 days behind" in clock.seen


@pytest.mark.parametrize("value", [{"port": 80}, {"port": "x"}, {"source": "a b"}, {"options": "--x='y'"}])
def test_settings_that_cannot_be_right(tmp_path: Path, value: dict[str, Any]) -> None:
    (tmp_path / "m.tflite").touch()
    with pytest.raises(InputError, match="expected"):
        settings_from({"model": str(tmp_path / "m.tflite"), **value}, "here")


def test_passwords_with_escapes_are_taken_and_never_told() -> None:
    assert settings_from({"source": "rtsp://me:p%40ss@cam/1"}, "here").source == "rtsp://me:p%40ss@cam/1"
    with pytest.raises(InputError) as wrong:
        settings_from({"source": "rtsp://me:p$ss@cam/1"}, "here")
    assert "p$ss" not in str(wrong.value)


@pytest.mark.parametrize(
    ("model", "fix"), [("", "make models MODELS=playing-cards"), ("mine.tflite", "give MODEL=file.tflite")]
)
def test_only_a_new_release_needs_a_model_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, fix: str
) -> None:
    """Any laptop with this program can take a board back, look at it or clean it."""
    monkeypatch.chdir(tmp_path)
    words = ["nobody@127.0.0.1:1", *(["--model", model] if model else [])]
    for command in ("check", "install"):
        with pytest.raises(InputError, match="no such file") as missing:
            main([command, *words])
        assert missing.value.action == fix
    for command in ("rollback", "status", "logs", "undeploy"):
        with pytest.raises(InputError, match=r"cannot be reached|refused"):
            main([command, words[0]])


@pytest.fixture
def sshd(tmp_path: Path) -> Any:
    (tmp_path / "b").mkdir()
    board = Board(tmp_path / "b").start()
    yield board
    board.stop()


def test_facts_of_this_machine_and_a_clock_ten_years_off(
    sshd: Board, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not Path(preflight.PYTHON).exists():
        pytest.skip("no Debian Python (apt install python3)")
    there = Target("board", Address.parse(sshd.address), target.settings)
    facts = ask(there, sshd.config)
    assert abs(facts.skew_s) < 5
    assert facts.values["memory_mb"] > 0
    assert sshd.leftovers() == []
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 3652 * 86400)
    clock = next(finding for finding in examine(there, ask(there, sshd.config)) if finding.name == "clock")
    assert not clock.ok
    assert "3652 days behind" in clock.seen


def test_another_host_key_and_no_board_are_one_line(sshd: Board, tmp_path: Path) -> None:
    (tmp_path / "m.tflite").touch()
    wrong = sshd.client_config("wrong", sshd.make_key("other"), sshd.key)
    what = ["--model", tmp_path / "m.tflite", "--source", "synthetic://cards"]
    done = run_module("deploy", "install", sshd.address, "--ssh-config", wrong, *what)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "ssh-keygen -R" in done.stderr
    sshd.stop()
    done = run_module("deploy", "check", sshd.address, "--ssh-config", sshd.config, *what)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "cannot be reached" in done.stderr
