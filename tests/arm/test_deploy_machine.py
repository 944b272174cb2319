"""From nothing to the live page on a whole ARM machine with a camera, and all the ways back.

The limits of time are wide: on a machine with other work the emulator gets a share of it. docs/deploy.md has what was
measured on a quiet one.
"""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import threading
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.arm.boards import Machine, needs, packages
from tests.arm.boards.asleep import Asleep
from tests.arm.boards.cache import sources
from tests.arm.boards.disk import image
from tests.arm.conftest import skip_where
from tests.conftest import ROOT, run_module
from tests.waiting import until

pytestmark = pytest.mark.machine

# An emulated machine has no time for anything beside as many frames as it can: one in two seconds is enough here.
_CAMERA = ("--source", "0?size=640x480", "--options=--max-fps=0.5")
_DEPLOY_S, _GAP_S, _ROLLBACK_S = 150, 8, 60
_PYTHON = "/opt/edgewren/current/.venv/bin/python"
_PROGRAM = f"{_PYTHON} -m runtime"
_NOBODY = "sudo setpriv --reuid=65534 --regid=65534 --clear-groups"


def deploy(machine: Machine, command: str, *arguments: object) -> tuple[subprocess.CompletedProcess[str], float]:
    """``python -m deploy command`` against the machine, and the seconds it took."""
    begin = time.monotonic()
    done = run_module("deploy", command, machine.address, "--ssh-config", machine.config, *arguments, timeout=900)
    seconds = time.monotonic() - begin
    print(f"{command}: {seconds:.1f} s, {done.stdout.strip().splitlines()[-2:]}")
    return done, seconds


def ask(machine: Machine, path: str, token: str = "") -> http.client.HTTPResponse:
    """Asks the page for something, through the forwarded port."""
    request = urllib.request.Request(f"http://127.0.0.1:{machine.page}{path}")
    request.add_header("Authorization", f"Bearer {token}")
    answer: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=30)
    return answer


def get(machine: Machine, path: str, token: str = "") -> bytes:
    """A whole answer of the page."""
    with ask(machine, path, token) as answer:
        return answer.read()


def is_well(machine: Machine) -> bool:
    """Whether ``/healthz`` says so."""
    try:
        return get(machine, "/healthz").strip() != b""
    except OSError:
        return False


def picture(machine: Machine, token: str) -> np.ndarray:
    """The first picture of the page's stream."""
    data = b""
    with ask(machine, "/stream.mjpg", token) as answer:
        while not (jpeg := re.search(rb"\xff\xd8\xff.*?\xff\xd9", data, re.DOTALL)):
            data += answer.read1()
    return np.asarray(cv2.imdecode(np.frombuffer(jpeg[0], np.uint8), cv2.IMREAD_COLOR))


def current(machine: Machine) -> str:
    return machine.ssh("basename $(readlink /opt/edgewren/current)").stdout.strip()


class Watch(threading.Thread):
    """Asks the page again and again; the longest time without a good answer is in ``gap``, long ones in ``gaps``."""

    def __init__(self, machine: Machine) -> None:
        super().__init__(daemon=True)
        self.machine, self._over = machine, threading.Event()
        self.gap, self.gaps = 0.0, ""

    def run(self) -> None:
        begin = last = time.monotonic()
        while not self._over.wait(0.2):
            asked = time.monotonic()
            well = is_well(self.machine)
            now = time.monotonic()
            self.gap = max(self.gap, now - last)
            if well and now - last > 1:
                self.gaps += f"{now - last:.1f} s until {now - begin:.1f} s (the answer took {now - asked:.1f} s), "
            last = now if well else last

    def __enter__(self) -> Watch:
        self.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._over.set()
        self.join()


@pytest.fixture(scope="module")
def models(kept_tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same network twice, in files of different contents."""
    folder = tmp_path_factory.mktemp("models")
    first, second = folder / "first.tflite", folder / "second.tflite"
    for path in (first, second):
        path.write_bytes(kept_tiny.read_bytes())
    with zipfile.ZipFile(second, "a") as archive:
        archive.comment = b"second"
    return first, second


@pytest.fixture(scope="module")
def deployed(models: tuple[Path, Path]) -> Asleep:
    """The machine as it was after a first deployment of just this."""
    skip_where(needs.machine())
    brought = [ROOT / "pyproject.toml", *sources("deploy", "runtime", "apps"), models[0]]
    return Asleep("machine-deployed", [image("trixie").name, *brought, *_CAMERA])


@pytest.fixture(scope="module")
def machine(deployed: Asleep, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """With systemd and a camera: woken with its first release on it, or booted, with packages from an earlier run."""
    folder = tmp_path_factory.mktemp("machine")
    with deployed.wake(folder) if deployed.there() else Machine(folder, disk=packages.disk()) as running:
        yield running


@pytest.fixture(scope="module")
def token(machine: Machine, models: tuple[Path, Path], deployed: Asleep) -> str:
    """What the page of the first release wants; that release comes from nothing, or finds its packages there."""
    if not deployed.there():
        done, _ = deploy(machine, "install", "--model", models[0], *_CAMERA)
        assert done.returncode == 0, done.stdout + done.stderr
        address = done.stdout.strip().splitlines()[-1]
        assert address.endswith(f"live page: http://127.0.0.1:8080/?token={_token(machine)}")
        until(lambda: is_well(machine), "no page", 60)
        deployed.keep(machine)
    return _token(machine)


def _token(machine: Machine) -> str:
    return machine.run("sudo cat /var/lib/edgewren/token").strip()


def booted_with_a_camera(machine: Machine) -> bool:
    """All units came up, the camera is the group's, and ``sudo`` asks for nothing."""
    said = machine.run("uname -m; systemctl is-system-running --wait; stat -c %G /dev/video0; sudo id -u")
    return said.split() == ["aarch64", "running", "video", "0"]


def test_machine_boots_with_a_camera(machine: Machine) -> None:
    assert booted_with_a_camera(machine)


def test_the_page_shows_the_camera(machine: Machine, token: str) -> None:
    until(lambda: is_well(machine), "no page", 60)
    seen = picture(machine, token)
    assert seen.shape[:2] == (480, 640)
    assert seen.std() > 10
    figures = json.loads(get(machine, "/api/state", token))["figures"]
    assert figures["frames"] > 0
    assert figures["source"] == "live"


def test_the_doctor_sees_the_camera(machine: Machine, token: str) -> None:
    said = machine.ssh(f"cd /; {_PROGRAM} doctor").stdout
    assert re.search(r"ok +camera +/dev/video0 \(vivid", said), said


_REFUSALS = {
    "busy": ("", "error: /dev/video0 gives no pictures; expected a V4L2 camera that no other program uses; close that"),
    "busy, as root": ("sudo", "error: /dev/video0 is in use by python (process "),
    "no permission": (
        _NOBODY,
        "error: no permission for /dev/video0; expected to be in the group video; sudo usermod -aG video",
    ),
}


@pytest.fixture(scope="module")
def refused(machine: Machine, token: str) -> dict[str, subprocess.CompletedProcess[str]]:
    """What detecting with a camera that cannot be had says to each, asked at the same time."""
    commands = [f"cd /; {who} {_PROGRAM} detect /opt/edgewren/current/first.tflite 0" for who, _ in _REFUSALS.values()]
    with ThreadPoolExecutor() as pool:
        return dict(zip(_REFUSALS, pool.map(machine.ssh, commands), strict=True))


@pytest.mark.parametrize("who", _REFUSALS)
def test_a_camera_that_cannot_be_had(refused: dict[str, subprocess.CompletedProcess[str]], who: str) -> None:
    done, said = refused[who], _REFUSALS[who][1]
    assert done.returncode == 2
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == 1


def test_forward_and_back(machine: Machine, token: str, models: tuple[Path, Path]) -> None:
    old = current(machine)
    with Watch(machine) as watch:
        done, seconds = deploy(machine, "install", "--model", models[1], *_CAMERA)
    assert done.returncode == 0, done.stdout + done.stderr
    new = current(machine)
    print(f"changed model: {seconds:.1f} s, page away {watch.gap:.1f} s; {watch.gaps}")
    assert new != old
    assert seconds < _DEPLOY_S
    assert watch.gap < _GAP_S

    done, _ = deploy(machine, "install", "--model", models[0], "--source", "/nothing.mp4")
    assert done.returncode == 1
    assert f"rolled back to {new}" in done.stderr
    assert current(machine) == new

    with Watch(machine) as watch:
        done, seconds = deploy(machine, "rollback")
    assert done.returncode == 0, done.stdout + done.stderr
    print(f"rollback: {seconds:.1f} s, page away {watch.gap:.1f} s; {watch.gaps}")
    assert current(machine) == old
    assert seconds < _ROLLBACK_S
    assert watch.gap < _GAP_S
    assert is_well(machine)


def test_the_camera_gives_the_size_that_was_asked_for(machine: Machine, token: str) -> None:
    """MJPG is asked for first; this driver has none, and what was agreed on is told. The service comes back as one."""
    machine.run("sudo systemctl stop edgewren")
    opened = "from runtime.sources.v4l2 import open_camera; camera = open_camera('0?size=320x180')"
    said = machine.run(f'cd /; {_PYTHON} -c "{opened}; print(camera.about, camera.read().pixels.shape)"')
    assert said.startswith("320x180 ")
    assert "vivid" in said
    assert "(180, 320, 3)" in said
    machine.run("sudo systemctl start edgewren")
    until(lambda: is_well(machine), "no page after the start", 120)


def test_a_power_cut_and_the_end(machine: Machine, token: str) -> None:
    machine.run("sync")
    machine.stop()
    machine.start()
    until(lambda: is_well(machine), "no page after the power cut", 120)
    assert booted_with_a_camera(machine)
    keep = packages.disk() is None
    if keep:
        packages.put_aside(machine)
    done, _ = deploy(machine, "undeploy")
    assert "nothing of Edgewren is left" in done.stdout
    assert machine.ssh("sudo find /etc /opt /var/lib /home /run -iname '*edgewren*'").stdout == ""
    if keep:
        packages.keep(machine)
