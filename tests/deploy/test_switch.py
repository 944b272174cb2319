"""Releases on real boards in containers: systemd, sshd, sudo and users of their own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.board.layout import ASKED
from tests.conftest import ROOT
from tests.deploy.boards import LightBoard
from tests.deploy.conftest import SOURCE, Bench
from tests.deploy.seen import active, current, is_settled, main_process, stands, waiting
from tests.waiting import until

# A container each, minutes together: make test-deploy.
pytestmark = pytest.mark.machine

Page = Callable[[LightBoard], int]


@pytest.fixture(scope="module")
def board(deployed: Bench) -> LightBoard:
    """A board with the first release."""
    return deployed.board()


def test_what_is_imported_is_compiled_and_nothing_else_is_left(board: LightBoard) -> None:
    """The service may not write there: what is not compiled now would be compiled at every start."""
    store = board.root / "opt/edgewren/store"
    assert list(store.glob(".*")) == []
    (packages,) = store.glob("packages-*/lib/python*/site-packages")
    (code,) = store.glob("code-*/lib/python*/site-packages")
    for folder in (packages / "numpy", packages / "cv2", packages / "tornado", code / "runtime", code / "apps"):
        assert list(folder.glob("__pycache__/__init__.*.pyc")), folder
    assert [path for path in packages.rglob("*.pyc") if {"test", "tests"} & set(path.parts)] == []


def test_a_lost_connection_ends_well_either_way(deployed: Bench, board: LightBoard, page: Page) -> None:
    before = current(board)
    what = ["--model", str(deployed.models[1]), "--source", SOURCE, "--ssh-config", str(board.config)]
    command = [sys.executable, "-m", "deploy", "install", board.address, *what]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as install:
        until(lambda: len(list((board.root / "opt/edgewren/releases").iterdir())) > 1, "no second release", 60)
        board.ssh("sudo pkill -9 -f 'sshd: pi' ")
        install.communicate()
        assert install.returncode in (0, 1)
    time.sleep(1)
    until(lambda: is_settled(board), "a switch stays open", 60)
    assert active(board) == [current(board)]
    assert page(board) == 200
    assert before


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (["--options=--nonsense"], "did not start: error: python -m apps.live: unrecognized arguments: --nonsense"),
        (["--source", "/nothing.mp4"], "died: error: /nothing.mp4: no such file"),
    ],
    ids=["before its turn", "with the camera in its hands"],
)
def test_a_bad_release_is_taken_back(
    deployed: Bench, board: LightBoard, page: Page, settings: list[str], reason: str
) -> None:
    old = current(board)
    process = main_process(board, old)
    done = deployed.install(board, 0, *settings)
    assert done.returncode == 1
    assert f"rolled back to {old}: " in done.stderr
    assert reason in done.stderr
    assert done.stderr.count("error: 1") <= 1
    assert (current(board), active(board), page(board)) == (old, [old], 200)
    # If it had given camera and port up already, it has them again, and had not to load.
    assert main_process(board, old) == process
    status = deployed.run("status", board.address, "--ssh-config", board.config)
    assert "was taken back" in status.stdout


def test_forward_back_and_nothing_twice(deployed: Bench, board: LightBoard, page: Page) -> None:
    assert deployed.install(board, 0).returncode == 0
    first = current(board)
    done = deployed.install(board, 1)
    assert done.returncode == 0, done.stdout + done.stderr
    second = current(board)
    assert second != first
    again = deployed.install(board, 1)
    assert f"runs {second} already, nothing changed" in again.stdout
    back = deployed.run("rollback", board.address, "--ssh-config", board.config)
    assert back.returncode == 0, back.stderr
    assert (current(board), active(board), page(board)) == (first, [first], 200)
    assert "s without service" in back.stdout


def test_the_release_before_waits_and_takes_over_when_it_is_wanted_back(
    deployed: Bench, board: LightBoard, page: Page
) -> None:
    first = current(board)
    process = main_process(board, first)
    assert deployed.install(board, 1).returncode == 0
    second = current(board)
    # It stepped back, and had not to load again.
    assert waiting(board) == [first]
    assert main_process(board, first) == process
    until(lambda: stands(board), "no agent stands by", 30)
    status = deployed.run("status", board.address, "--ssh-config", board.config)
    assert f"; {first} waits, loaded" in status.stdout
    # When the one that runs dies, it starts again, and who waits goes on waiting.
    board.inside(f"kill -9 {main_process(board, second)}")
    until(lambda: page(board) == 200, "no page after the service was killed", 30)
    assert (current(board), active(board), waiting(board)) == (second, [second], [first])
    back = deployed.run("rollback", board.address, "--ssh-config", board.config)
    assert back.returncode == 0, back.stderr
    assert (current(board), active(board), page(board)) == (first, [first], 200)
    assert main_process(board, first) == process
    # Who stood by was asked, and nobody else had to load.
    assert board.seen(str(ASKED)).exists()
    nice = board.inside(f"ps -o ni= -L -p {process}").split()
    assert set(nice) == {"0"}
    # The one that was not wanted does not wait.
    until(lambda: main_process(board, second) == "0", "it does not end", 30)


def test_the_release_before_waits_again_after_a_bad_one(deployed: Bench, board: LightBoard) -> None:
    assert deployed.install(board, 0).returncode == 0
    first = current(board)
    assert deployed.install(board, 1).returncode == 0
    for settings in (["--options=--nonsense"], ["--source", "/nothing.mp4"]):
        assert deployed.install(board, 0, *settings).returncode == 1
        until(lambda: waiting(board) == [first] and stands(board), "nobody stands by again", 60)
    back = deployed.run("rollback", board.address, "--ssh-config", board.config)
    assert back.returncode == 0, back.stderr
    assert current(board) == first
    assert board.seen(str(ASKED)).exists()


def test_who_waits_makes_room_for_the_next_release(deployed: Bench, board: LightBoard) -> None:
    first = current(board)
    assert deployed.install(board, 1).returncode == 0
    until(lambda: waiting(board) == [first], "the release before does not wait", 30)
    assert deployed.install(board, 0, "--options=--threads=1").returncode == 0
    assert main_process(board, first) == "0"
    assert deployed.install(board, 0).returncode == 0


def test_the_same_model_under_another_name(deployed: Bench, board: LightBoard, page: Page, tmp_path: Path) -> None:
    """It is in the store already, as what it was called then."""
    other = shutil.copy(deployed.models[0], tmp_path / "other.tflite")
    done = deployed.run("install", board.address, "--ssh-config", board.config, "--model", other, "--source", SOURCE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert page(board) == 200
    status = deployed.run("status", board.address, "--ssh-config", board.config)
    assert "model other.tflite" in status.stdout
    assert deployed.install(board, 0).returncode == 0


def test_three_releases_stay(deployed: Bench, board: LightBoard) -> None:
    for threads in (1, 2, 3):
        assert deployed.install(board, 0, f"--options=--threads={threads}").returncode == 0
    kept = board.ssh("ls /opt/edgewren/releases").stdout.split()
    assert len(kept) == 3
    assert current(board) in kept
    assert len(board.ssh("ls /opt/edgewren/store").stdout.split()) <= 4
    services = board.ssh("ls /etc/systemd/system | grep edgewren@").stdout.split()
    assert services == [f"edgewren@{release}.service" for release in kept]


def test_a_reboot_keeps_it(board: LightBoard, page: Page) -> None:
    release = current(board)
    board.power_cut()
    board.start()
    until(lambda: page(board) == 200, "no page after the start", 60)
    assert active(board) == [release]


def test_of_ten_boards_the_broken_one_is_named(deployed: Bench, tmp_path: Path, page: Page) -> None:
    boards = [deployed.board() for _ in range(10)]
    broken = boards[6]
    broken.ssh(
        "sudo mkdir -p /etc/systemd/system/edgewren@.service.d && "
        "printf '[Service]\\nExecStartPre=/bin/false\\n' | sudo tee /etc/systemd/system/edgewren@.service.d/x.conf && "
        "sudo systemctl daemon-reload"
    )
    old = current(broken)
    inventory = tmp_path / "fleet.json"
    groups = {}
    for at, name in enumerate(("doors", "tables")):
        hosts = {f"b{n}": {"ansible_host": boards[n].host, "ansible_user": "pi"} for n in range(10) if n % 2 == at}
        model = {"model": str(deployed.models[at]), "source": SOURCE, "options": "--threads=1"}
        groups[name] = {"hosts": hosts, "vars": model}
    inventory.write_text(json.dumps({"all": {"children": groups}}))
    config = deployed.shared_config(boards, tmp_path)
    done = deployed.run("install", "--inventory", inventory, "--ssh-config", config)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "9 of 10 boards well, 9 changed" in done.stdout
    assert f"error: b6: rolled back to {old}" in done.stderr
    assert done.stderr.count("error: ") - done.stderr.count(": error: ") == 1
    assert (current(broken), page(broken)) == (old, 200)
    assert [page(board) for board in boards] == [200] * 10
    names = {current(board) for board in boards if board is not broken}
    assert len(names) == 2
    assert old not in names
    again = deployed.run("install", "--inventory", inventory, "--ssh-config", config, "--limit", "all:!b6")
    assert "9 of 9 boards well, 0 changed" in again.stdout, again.stdout + again.stderr
