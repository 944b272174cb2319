"""Releases on real boards in containers: systemd, sshd, sudo and users of their own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.board.steps import STEPS
from tests.conftest import ROOT
from tests.convert.boards import until
from tests.deploy.boards import LightBoard
from tests.deploy.conftest import SOURCE, Bench

# A container each, minutes together: make test-arm.
pytestmark = pytest.mark.machine

Page = Callable[[LightBoard], int]
# Up to here the switch is not final.
_OLD_RUNS = STEPS[: STEPS.index("switch-done")]


def current(board: LightBoard) -> str:
    """Id of the release that is current."""
    return board.ssh("basename $(readlink /opt/edgewren/current)").stdout.strip()


def active(board: LightBoard) -> list[str]:
    """Ids of the releases whose services run."""
    listed = board.ssh("systemctl list-units --plain --no-legend --state=active 'edgewren@*'").stdout
    return [line.split()[0].removeprefix("edgewren@").removesuffix(".service") for line in listed.splitlines()]


def is_settled(board: LightBoard) -> bool:
    """Nobody is at work and no switch is open."""
    return board.ssh("test ! -e /opt/edgewren/switch.json && flock -n /run/edgewren.lock true").returncode == 0


@pytest.fixture(scope="module")
def board(deployed: Bench) -> LightBoard:
    """A board with the first release."""
    return deployed.board()


@pytest.fixture(scope="module")
def bundle(deployed: Bench, board: LightBoard) -> str:
    """The second release as a file on the board, to be run there without Ansible."""
    from convert.stopwatch.address import Address
    from deploy.bundle import write_bundle
    from deploy.code import project_wheel
    from deploy.preflight import ask
    from deploy.release import make_manifest
    from deploy.settings import Settings, Target
    from deploy.wheelhouse import Tags, wheelhouse

    settings = Settings(deployed.models[1], SOURCE)
    facts = ask(Target("board", Address.parse(board.address), settings), board.config)
    tags = Tags.of(facts, False)
    wheels, code = wheelhouse(tags), project_wheel()
    manifest = make_manifest(settings, facts, wheels, code, tags)
    path = write_bundle(deployed.folder, manifest, facts, wheels, code, settings.model)
    subprocess.run(["scp", "-q", "-F", board.config, path, f"{board.address}:second.pyz"], check=True)
    return "second.pyz"


@pytest.mark.parametrize("step", _OLD_RUNS)
def test_the_old_release_runs_on_when_the_process_is_killed(
    board: LightBoard, bundle: str, page: Page, step: str
) -> None:
    old = current(board)
    done = board.ssh(f"sudo EDGEWREN_DRILL={step} python3 -I {bundle} install")
    assert f"step {step}" in done.stderr or '"failed": "rolled back' in done.stdout
    until(lambda: is_settled(board), "a switch stays open")
    assert (current(board), active(board), page(board)) == (old, [old], 200)


def test_the_old_release_runs_after_a_power_cut_in_the_middle_of_a_switch(
    board: LightBoard, bundle: str, page: Page
) -> None:
    old = current(board)
    command = f"sudo python3 -I {bundle} install"
    with subprocess.Popen(
        ["ssh", "-F", board.config, board.address, command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as install:
        until(lambda: (board.root / "opt/edgewren/switch.json").exists(), "no switch began", 60)
        board.power_cut()
        install.kill()
    board.start()
    until(lambda: page(board) == 200, "no page after the power cut", 60)
    assert current(board) == old
    assert active(board) == [old]
    assert is_settled(board)


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
    done = deployed.install(board, 0, *settings)
    assert done.returncode == 1
    assert f"rolled back to {old}: " in done.stderr
    assert reason in done.stderr
    assert done.stderr.count("error: 1") <= 1
    assert (current(board), active(board), page(board)) == (old, [old], 200)
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


def test_three_releases_stay(deployed: Bench, board: LightBoard) -> None:
    for threads in (1, 2, 3):
        assert deployed.install(board, 0, f"--options=--threads={threads}").returncode == 0
    kept = board.ssh("ls /opt/edgewren/releases").stdout.split()
    assert len(kept) == 3
    assert current(board) in kept
    assert len(board.ssh("ls /opt/edgewren/store").stdout.split()) <= 4


def test_the_service_has_no_rights_and_its_token_is_in_no_log(board: LightBoard) -> None:
    unit = f"edgewren@{current(board)}.service"
    pid = board.ssh(f"systemctl show --value -p MainPID {unit}").stdout.strip()
    status = board.ssh(f"cat /proc/{pid}/status").stdout
    rows = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    user = board.ssh("id -u edgewren").stdout.strip()
    assert user != "0"
    assert set(rows["Uid"].split()) == {user}
    assert int(rows["CapEff"], 16) == int(rows["CapBnd"], 16) == 0
    assert rows["NoNewPrivs"] == "1"
    assert rows["Seccomp"] == "2"
    token = board.ssh("sudo cat /var/lib/edgewren/token").stdout.strip()
    assert len(token) >= 20
    assert board.ssh(f"sudo journalctl --no-pager | grep -cF {token}").stdout.strip() == "0"
    # What it may write: of the places it could try, its own folder alone.
    places = "/etc /usr /opt/edgewren /home/pi /var/log /boot"
    loop = f"for p in {places}; do test -w $p && echo $p; done"
    line = f"sudo nsenter -t {pid} -m setpriv --reuid={user} --clear-groups sh -c '{loop}'"
    assert board.ssh(line).stdout == ""


def test_a_reboot_keeps_it(board: LightBoard, page: Page) -> None:
    release = current(board)
    board.power_cut()
    board.start()
    until(lambda: page(board) == 200, "no page after the start", 60)
    assert active(board) == [release]


def test_undeploy_leaves_nothing(deployed: Bench, board: LightBoard) -> None:
    done = deployed.run("undeploy", board.address, "--ssh-config", board.config)
    assert done.returncode == 0, done.stderr
    assert "nothing of Edgewren is left" in done.stdout
    left = board.ssh("sudo find /etc /opt /var /run /home /tmp -iname '*edgewren*' -not -path '/var/log/*'").stdout
    assert left == ""
    assert board.ssh("id edgewren").returncode != 0
    assert "nothing was deployed" in deployed.run("undeploy", board.address, "--ssh-config", board.config).stdout


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
