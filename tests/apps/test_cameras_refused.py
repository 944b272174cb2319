"""Cameras that cannot be opened: one line and status 2 at the start, or a page that says so with ``--wait``.

The refusals are the kernel's own: the program runs without the privileges that tests in a container have.
"""

from __future__ import annotations

import contextlib
import grp
import json
import os
import signal
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cameras import mjpeg_camera
from tests.conftest import ROOT
from tests.waiting import until

# Holds a terminal for itself: opening it again is EBUSY, as with a camera that another program has.
_HOLDER = (
    "import fcntl, os, pty, sys, termios\n"
    "master, device = pty.openpty(); fcntl.ioctl(device, termios.TIOCEXCL)\n"
    "print(os.ttyname(device), flush=True); sys.stdin.read()"
)


def as_nobody_special() -> list[str]:
    """Before a command: without root's privileges."""
    return ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--clear-groups"] if os.geteuid() == 0 else []


def refused(model: Path, source: object) -> str:
    """The one line that the app ends with."""
    command = [*as_nobody_special(), sys.executable, "-m", "apps.live", str(model), str(source), "json://-"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=60)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    return done.stderr


def device_of(folder: Path, group: int, mode: int) -> Path:
    """A camera's device file that belongs to somebody else; where that cannot be made, a file nobody may open."""
    path = folder / "video0"
    if os.geteuid() == 0:
        os.mknod(path, stat.S_IFCHR, os.makedev(81, 0))
        os.chown(path, 65534, group)
        path.chmod(mode)
    else:
        path.touch()
        path.chmod(mode & 0o070)
    return path


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("/dev/video97", "error: no camera at /dev/video97; cameras on this machine: "),
        ("0097", "error: no camera at /dev/video97; cameras on this machine: "),
        ("9" * 5000, "error: "),
        ("\N{ARABIC-INDIC DIGIT THREE}", "error: no camera at \N{ARABIC-INDIC DIGIT THREE}; cameras on this machine: "),
        ("v4l2:///dev", "error: /dev is a folder; cameras on this machine: "),
        ("v4l2:///dev/null", "error: /dev/null is no camera; cameras on this machine: "),
    ],
)
def test_what_is_no_camera(source: str, line: str, tiny_model: Path) -> None:
    assert refused(tiny_model, source).startswith(line)


def test_without_permission_the_group_and_the_command_are_named(tiny_model: Path, tmp_path: Path) -> None:
    group = grp.getgrnam("video") if os.geteuid() == 0 else grp.getgrgid(os.getegid())
    device = device_of(tmp_path, group.gr_gid, 0o660)
    assert refused(tiny_model, f"v4l2://{device}") == (
        f"error: no permission for {device}; expected to be in the group {group.gr_name}; "
        f"sudo usermod -aG {group.gr_name} $USER, then log in again\n"
    )


def test_a_device_that_no_group_may_open_is_told_apart(tiny_model: Path, tmp_path: Path) -> None:
    device = device_of(tmp_path, grp.getgrnam("video").gr_gid, 0o600)
    assert refused(tiny_model, f"v4l2://{device}").endswith(f"sudo chgrp video {device}; sudo chmod 660 {device}\n")


@contextlib.contextmanager
def held() -> Iterator[tuple[str, int]]:
    command = [*as_nobody_special(), sys.executable, "-c", _HOLDER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout
        assert holder.stdin
        yield holder.stdout.readline().strip(), holder.pid
        holder.stdin.close()


def test_a_camera_in_use_names_the_program_that_has_it(tiny_model: Path) -> None:
    with held() as (device, process):
        name = Path(f"/proc/{process}/comm").read_text().strip()
        assert refused(tiny_model, f"v4l2://{device}") == (
            f"error: {device} is in use by {name} (process {process}); "
            "expected a camera that no other program uses; close that program\n"
        )


def test_with_wait_the_app_is_up_and_says_what_it_waits_for(tiny_model: Path) -> None:
    camera = mjpeg_camera()
    command = [sys.executable, "-m", "apps.live", tiny_model, camera.url, "http://127.0.0.1:0", "--wait"]
    app = subprocess.Popen([str(part) for part in command], stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert app.stderr
    try:
        page = next(line for line in app.stderr if "live page: " in line).split("live page: ")[1].split()[0]

        def figures() -> dict[str, object]:
            with urllib.request.urlopen(f"{page}api/state", timeout=5) as answer:
                found: dict[str, object] = json.load(answer)["figures"] or {}
                return found

        until(lambda: "connection refused" in str(figures().get("notices")), seconds=30, pause=0.1)
        told = figures()
        assert told["source"] == "reopening"
        assert str(told["notices"]).count("trying again") == 1
        assert urllib.request.urlopen(f"{page}healthz", timeout=5).status == 200
        camera.start()
        until(lambda: (now := figures())["source"] == "live" and int(str(now["frames"])) > 3, seconds=30, pause=0.1)
        assert figures()["notices"] == []
    finally:
        camera.kill()
        app.send_signal(signal.SIGTERM)
        _, err = app.communicate(timeout=20)
    assert app.returncode == 0, err


def test_waiting_ends_with_a_signal_and_a_name_that_can_never_be_right_is_refused(tiny_model: Path) -> None:
    command = [sys.executable, "-m", "apps.live", str(tiny_model), "/dev/video97", "json://-", "--wait"]
    app = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert app.stderr
    assert app.stderr.readline().startswith("no camera at /dev/video97; cameras on this machine: ")
    app.send_signal(signal.SIGTERM)
    assert "0 frames in" in app.communicate(timeout=20)[1]
    assert app.returncode == 0
    command[4] = "/dev/video97?size=big"
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=30)
    assert done.returncode == 2
    assert "expected WIDTHxHEIGHT" in done.stderr
