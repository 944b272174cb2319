"""The emulated boards are what they say, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.arm.boards import UserLand
from tests.arm.boards.rootfs import SUITES
from tests.conftest import ROOT
from tests.ports import listens
from tests.waiting import until


def test_user_land_is_an_arm_board(pi: UserLand) -> None:
    said = pi.run("uname -m; python3 -V; grep -m1 'CPU part' /proc/cpuinfo; ls -d /sys/devices/system/cpu; id -Gn")
    machine, python, part, cpus, groups = said.splitlines()
    assert machine == "aarch64"
    assert python.startswith(f"Python {SUITES[pi.suite]}.")
    assert part.split()[-1] == "0xd08"
    assert cpus == "/sys/devices/system/cpu"
    assert {"sudo", "video"} <= set(groups.split())


def test_sudo_keeps_the_core(pi: UserLand) -> None:
    assert pi.run("sudo sh -c 'id -u; echo $QEMU_CPU'").split() == ["0", "cortex-a72"]


def test_boards_do_not_see_each_other(pi: UserLand, tmp_path: Path) -> None:
    with UserLand(tmp_path, pi.suite) as other:
        other.run("echo mine > /opt/mine", user="root")
        assert pi.ssh("test -e /opt/mine").returncode == 1
        assert other.port != pi.port


def test_a_killed_test_leaves_nothing(pi: UserLand, tmp_path: Path) -> None:
    """The process that started a board is killed: no process, no mount, no port stays."""
    code = (
        "import sys, time; from pathlib import Path; from tests.arm.boards import UserLand\n"
        f"board = UserLand(Path({str(tmp_path)!r}), {pi.suite!r}); board.start()\n"
        "print(board.port, flush=True); time.sleep(600)"
    )
    starter = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert starter.stdout
    port = int(starter.stdout.readline())
    assert listens(port)
    os.kill(starter.pid, signal.SIGKILL)
    starter.wait()
    starter.stdout.close()
    until(lambda: not listens(port), "it still listens", 10)
    assert str(tmp_path) not in Path("/proc/mounts").read_text()
