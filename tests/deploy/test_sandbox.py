"""What the service may do, seen from inside: its own unit runs ``probe.py`` in the place of the live app.

The same process without the sandbox tells that each thing would be possible there.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.boards import LightBoard
from tests.deploy.conftest import Bench
from tests.deploy.probe import FOLDERS, PRIVATE

pytestmark = pytest.mark.machine

_STATE = "/var/lib/edgewren"
_PROBE = "/usr/local/lib/probe.py"
# Only what is run differs; everything else is the release's own unit.
_OTHER_PROGRAM = f"""[Service]
Type=oneshot
Restart=no
WatchdogSec=0
ExecStart=
ExecStart=/usr/bin/python3 -I {_PROBE} inside
StandardOutput=file:/run/inside.json
"""
# What any machine may have; everybody may open them, as far as owners and modes go.
_NODES = {
    "mem": (stat.S_IFCHR, 1, 1),
    "kmsg-of-all": (stat.S_IFCHR, 1, 11),
    "sda": (stat.S_IFBLK, 8, 0),
}
# systemd's least: nothing that tells or changes anything about the machine.
_HARMLESS = {"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/ptmx"}


@pytest.fixture(scope="module")
def board(deployed: Bench) -> LightBoard:
    """A board with the first release, folders that are open to everybody, and devices."""
    board = deployed.board()
    for folder in FOLDERS:
        if folder.endswith("/open"):
            board.inside(f"mkdir -p {folder}; chmod 777 {folder}")
    for name, (kind, major, minor) in _NODES.items():
        os.mknod(board.seen(f"dev/{name}"), kind, os.makedev(major, minor))
        board.seen(f"dev/{name}").chmod(0o666)
    shutil.copy(Path(__file__).with_name("probe.py"), board.root / _PROBE[1:])
    return board


@pytest.fixture(scope="module")
def inside(board: LightBoard) -> dict[str, Any]:
    """What the probe tells from inside."""
    unit = board.inside("cat /etc/systemd/system/edgewren@*.service")
    folder = board.seen("run/systemd/system")
    folder.joinpath("edgewren-probe.service.d").mkdir(parents=True)
    folder.joinpath("edgewren-probe.service").write_text(unit)
    folder.joinpath("edgewren-probe.service.d/program.conf").write_text(_OTHER_PROGRAM)
    board.inside("systemctl daemon-reload; systemctl start edgewren-probe || journalctl -u edgewren-probe -o cat >&2")
    found: dict[str, Any] = json.loads(board.seen("run/inside.json").read_text())
    return found


@pytest.fixture(scope="module")
def outside(board: LightBoard) -> dict[str, Any]:
    """What the same user may do otherwise."""
    user = "--uid=edgewren --gid=edgewren -p SupplementaryGroups=video"
    found: dict[str, Any] = json.loads(board.inside(f"systemd-run -q --wait --pipe {user} python3 -I {_PROBE} outside"))
    return found


def test_it_is_a_user_without_any_right(board: LightBoard, inside: dict[str, Any]) -> None:
    user, group, video = map(
        int, board.inside("id -u edgewren; id -g edgewren; getent group video | cut -d: -f3").split()
    )
    assert user != 0
    assert inside["user"] == [user, group]
    assert set(inside["groups"]) <= {group, video, *_render(board)}
    status = inside["status"]
    assert {status[name].strip("0") for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {""}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


def _render(board: LightBoard) -> list[int]:
    return [int(line.split(":")[2]) for line in board.inside("getent group render; true").splitlines()]


def test_of_all_folders_it_may_write_its_own(inside: dict[str, Any], outside: dict[str, Any]) -> None:
    private = {"/tmp", "/var/tmp", "/dev/shm"}
    assert {path for path in inside["writable"] if not path.startswith(_STATE)} == private
    assert _STATE in inside["writable"]
    assert set(FOLDERS) <= set(outside["writable"])


@pytest.mark.parametrize("folder", FOLDERS)
def test_what_it_writes_elsewhere_nobody_sees(
    board: LightBoard, inside: dict[str, Any], outside: dict[str, Any], folder: str
) -> None:
    assert outside["writes"][folder] == "done"
    assert board.inside(f"ls {folder}").split().count("outside") == 1
    assert board.inside(f"ls {folder}").split().count("inside") == (folder == _STATE)
    if folder.endswith("/open"):
        assert inside["writes"][folder] in ("EROFS", "EACCES", "ENOENT")


@pytest.mark.parametrize("folder", PRIVATE)
def test_it_sees_nothing_of_others(inside: dict[str, Any], folder: str) -> None:
    assert inside["lists"][folder] in ("EACCES", "ENOENT")


def test_it_sees_no_process_of_others(inside: dict[str, Any], outside: dict[str, Any]) -> None:
    assert outside["strangers"] > 5
    assert inside["strangers"] == 0


def test_it_may_open_no_device_but_cameras(board: LightBoard, inside: dict[str, Any]) -> None:
    """A board in a container has no camera, and its kernel leaves devices to the host: what systemd was told counts."""
    assert {path for path, how in inside["opens"].items() if how == "done"} <= _HARMLESS
    assert {f"/dev/{name}" for name in _NODES} <= set(inside["opens"])
    told = board.inside("systemctl show -p DevicePolicy -p DeviceAllow 'edgewren@*.service'").split("\n")
    assert "DevicePolicy=closed" in told
    allowed = {line.removeprefix("DeviceAllow=") for line in told if line.startswith("DeviceAllow=")}
    # To read the clock's chip comes with ProtectClock.
    assert allowed == {"char-video4linux rw", "char-media rw", "/dev/vcio rw", "char-rtc r"}


def test_the_kernel_does_it_no_favours(inside: dict[str, Any]) -> None:
    refused = {"EPERM", "EACCES", "EAFNOSUPPORT"}
    assert {name: how for name, how in inside["calls"].items() if how not in refused} == {}


@pytest.mark.parametrize("name", ["a namespace of its own", "memory to write and to run", "a socket to the kernel"])
def test_it_could_do_so_otherwise(outside: dict[str, Any], name: str) -> None:
    assert outside["calls"][name] == "done"
