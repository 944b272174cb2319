"""What stands in the way of a deployment, on a board with a disk, users and a clock of its own.

Each case: one line that says what to do, status 2, and nothing written on the board, not even for a moment.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.deploy.boards import LightBoard
from tests.deploy.conftest import SOURCE, Bench
from tests.waiting import until

pytestmark = pytest.mark.machine

# Where Debian's Python looks for what a machine's owner wants of it; so a board can say it is another one.
_HOOK = "/etc/python3.11/sitecustomize.py"


def says(code: str) -> tuple[str, str]:
    """A board whose Python says something else about it: commands to make it so, and back."""
    make = f"cp -p {_HOOK} /run/hook; printf '%s' '{code}' > {_HOOK}"
    return make, f"cp -p /run/hook {_HOOK}"


TRIXIE_32 = 'import platform, struct, sys; sys.version_info = (3, 13, 5); platform.machine = lambda: "aarch64"; '
TRIXIE_32 += "struct.calcsize = lambda form: 4"
TEN_YEARS_AGO = "import time; now = time.time; time.time = lambda: now() - 3652 * 86400"
NO_SUDO = ("rm /etc/sudoers.d/pi", "echo 'pi ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/pi; chmod 440 /etc/sudoers.d/pi")
SUDO_ASKS = ("usermod -aG sudo pi; echo pi:right | chpasswd; rm /etc/sudoers.d/pi", f"gpasswd -d pi sudo; {NO_SUDO[1]}")
FULL = ("mkdir -p /opt; mount -t tmpfs -o size=8m full /opt", "umount /opt")
CASES: dict[str, tuple[tuple[str, str], str, str]] = {
    "no sudo": (NO_SUDO, "the user is in no group that may use it", "there, as root: usermod -aG sudo pi"),
    "full disk": (FULL, "8 MiB free for /opt, the release needs 400", "sudo apt clean"),
    "no space for the wheelhouse": (
        ("mount -t tmpfs -o size=9m,uid=1000 full /home/pi", "umount /home/pi"),
        "9 MiB free for the home folder, the wheelhouse needs 120",
        "sudo apt clean",
    ),
    "no space for the state": (
        ("mount -t tmpfs -o size=4m full /var/lib", "umount /var/lib"),
        "4 MiB free for /var/lib",
        "sudo apt clean",
    ),
    "Python too old": (
        says("import sys; sys.version_info = (3, 9, 2)"),
        "Python 3.9 is too old",
        "upgrade to Raspberry Pi OS bookworm (Python 3.11) or trixie (3.13)",
    ),
    "no Python": (
        ("mv /usr/bin/python3 /usr/bin/python3.away", "mv /usr/bin/python3.away /usr/bin/python3"),
        "has no working /usr/bin/python3",
        "sudo apt install python3",
    ),
    "32-bit trixie": (says(TRIXIE_32), "a 32-bit system with Python 3.13", "install the 64-bit Raspberry Pi OS"),
    "clock ten years off": (says(TEN_YEARS_AGO), "its clock is 3652 days behind", "sudo timedatectl set-ntp true"),
}


@pytest.fixture(scope="module")
def board(bench: Bench) -> LightBoard:
    """One that nothing was deployed to."""
    return bench.board(fresh=True)


@contextmanager
def in_a_state(board: LightBoard, make: str, undo: str) -> Iterator[None]:
    """A board with something wrong with it; after that, nothing may be different from before."""
    board.inside(make)
    try:
        before = board.written()
        yield
        assert board.differences(before) == []
    finally:
        board.inside(undo)


def refused(done: subprocess.CompletedProcess[str], seen: str, fix: str) -> None:
    """One line, with the reason and what to do, and status 2."""
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ")
    assert seen in done.stderr
    assert fix in done.stderr


@pytest.mark.parametrize("case", CASES)
def test_one_line_and_nothing_written(bench: Bench, board: LightBoard, case: str) -> None:
    state, seen, fix = CASES[case]
    with in_a_state(board, *state):
        refused(bench.install(board), seen, fix)


def test_another_host_key(bench: Bench, board: LightBoard, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"], check=True)
    known = tmp_path / "known"
    known.write_text(f"{board.host} {(tmp_path / 'other.pub').read_text()}")
    config = tmp_path / "config"
    config.write_text(board.config.read_text().replace(str(board.folder / "known_hosts"), str(known)))
    before = board.written()
    what = ["--model", bench.models[0], "--source", SOURCE]
    refused(bench.run("install", board.address, "--ssh-config", config, *what), board.host, "ssh-keygen -R")
    assert board.differences(before) == []


def test_an_old_release_that_was_started_by_hand(deployed: Bench) -> None:
    board = deployed.board()
    current = "/opt/edgewren/current"
    board.inside("systemctl stop 'edgewren@*'")
    old = f"{current}/.venv/bin/python -m apps.live {current}/first.tflite {SOURCE} http://0.0.0.0:8080"
    board.ssh(f"cd /tmp && (setsid {old} > /dev/null 2>&1 < /dev/null &)")
    until(lambda: "8080" in board.ssh("ss -ltn").stdout, "the old release does not start")
    before = board.written()
    done = deployed.install(board, 1)
    pid = board.ssh("pgrep -f apps.live").stdout.split()[0]
    refused(done, "port 8080 is taken by", f"there: sudo kill {pid}, or give PORT=8081")
    assert "an old release" in done.stderr
    assert board.differences(before) == []


def test_one_of_a_fleet_stops_all_before_any_is_changed(bench: Bench, board: LightBoard, tmp_path: Path) -> None:
    good = bench.board(fresh=True)
    inventory = tmp_path / "fleet.json"
    both = {"good": good, "full": board}
    hosts = {name: {"ansible_host": one.host, "ansible_user": "pi"} for name, one in both.items()}
    what = {"model": str(bench.models[0]), "source": SOURCE}
    inventory.write_text(json.dumps({"all": {"hosts": hosts, "vars": what}}))
    config = bench.shared_config([good, board], tmp_path)
    before = good.written()
    with in_a_state(board, *FULL):
        done = bench.run("install", "--inventory", inventory, "--ssh-config", config)
        refused(done, f"{board.address}: 8 MiB free for /opt", "sudo apt clean")
    assert good.differences(before) == []


def test_no_space_for_the_wheelhouse_here(bench: Bench, board: LightBoard, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=30m", "small", small], check=True)
    try:
        before = board.written()
        done = bench.install(board, cwd=small)
        refused(done, "no space for the wheelhouse", "free disk space here")
        assert board.differences(before) == []
        assert not list(small.glob("build/wheelhouse/cp*"))
    finally:
        subprocess.run(["umount", small], check=True)
        shutil.rmtree(small)


@pytest.mark.parametrize(
    ("password", "seen", "fix"),
    [
        ("", "sudo asks pi for a password", "set EDGEWREN_SUDO_PASSWORD"),
        ("wrong", "sudo does not take the password", "set EDGEWREN_SUDO_PASSWORD"),
    ],
    ids=["none", "a wrong one"],
)
def test_sudo_with_a_password(bench: Bench, board: LightBoard, password: str, seen: str, fix: str) -> None:
    with in_a_state(board, *SUDO_ASKS):
        refused(bench.install(board, password=password), seen, fix)


@pytest.mark.parametrize("command", ["rollback", "undeploy"])
def test_a_command_finds_out_by_itself_that_sudo_wants_a_password(
    bench: Bench, board: LightBoard, command: str
) -> None:
    make, undo = SUDO_ASKS
    way = (command, board.address, "--ssh-config", board.config)
    # sudo itself leaves a file at home, so the state is not compared.
    board.inside(make)
    try:
        refused(bench.run(*way), "this user may not use sudo without a password", "set EDGEWREN_SUDO_PASSWORD")
        refused(bench.run(*way, password="wrong"), "sudo does not take the password", "set EDGEWREN_SUDO_PASSWORD")
        done = bench.run(*way, password="right")
        said = done.stdout + done.stderr
        assert "nothing is deployed there" in said or "nothing was deployed there" in said
    finally:
        board.inside(undo)
