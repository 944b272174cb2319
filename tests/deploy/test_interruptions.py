"""The agent, the connection and the power end at every step there is; the next installation finds no obstacle."""

from __future__ import annotations

import itertools
import os
import shlex
import shutil
import signal
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from deploy.board import services
from deploy.board.apart import AT_HAND, apart
from deploy.board.layout import AGENT, AHEAD, ANSWER, ASKED, PYTHON
from deploy.board.steps import STEPS, WATCHED
from tests.deploy.boards import LightBoard
from tests.deploy.conftest import SOURCE, Bench
from tests.deploy.seen import active, current, is_settled, previous, waiting
from tests.processes import read_process
from tests.waiting import until

# A container, minutes together: make test-deploy.
pytestmark = pytest.mark.machine

Page = Callable[[LightBoard], int]
# From here on the new release is the one that runs.
_FINAL = STEPS.index("switch-done")
_SWITCHING = [name for name in STEPS if name.startswith("switch-")]
# As /proc/PID/status tells it.
_SIGCONT = 1 << (signal.SIGCONT - 1)


@pytest.fixture(scope="module")
def board(deployed: Bench) -> LightBoard:
    """A board with the first release."""
    return deployed.board()


@dataclass(frozen=True)
class Offer:
    """A release the board has never seen, with a model of its own.

    Attributes:
        release: Its id.
        file: It, on the board, to be run there without Ansible.
    """

    release: str
    file: str

    def install(self, drill: str = "") -> str:
        """A shell command that installs it."""
        return f"sudo EDGEWREN_DRILL={drill} python3 -I {self.file} install"


@pytest.fixture(scope="module")
def offers(deployed: Bench, board: LightBoard) -> Iterator[Offer]:
    """One such release after the other."""
    from convert.stopwatch.address import Address
    from deploy.bundle import write_bundle
    from deploy.code import project_wheel
    from deploy.preflight import ask
    from deploy.release import make_manifest
    from deploy.settings import Settings, Target
    from deploy.wheelhouse import Tags, wheelhouse

    facts = ask(Target("board", Address.parse(board.address), Settings(deployed.models[0], SOURCE)), board.config)
    tags = Tags.of(facts, False)
    wheels, code = wheelhouse(tags), project_wheel()

    def make() -> Iterator[Offer]:
        for number in itertools.count():
            model = deployed.folder / f"offer-{number}.tflite"
            shutil.copy(deployed.models[0], model)
            with zipfile.ZipFile(model, "a") as archive:
                archive.comment = f"offer {number}".encode()
            manifest = make_manifest(Settings(model, SOURCE), facts, wheels, code, tags)
            path = write_bundle(deployed.folder, manifest, facts, wheels, code, model)
            shutil.move(path, board.root / f"home/pi/offer-{number}.pyz")
            yield Offer(manifest.id, f"offer-{number}.pyz")

    return make()


@contextmanager
def held(board: LightBoard, command: str) -> Iterator[int]:
    """A command that a user runs over ssh, as it waits at its step; the agent's process, as seen from here."""
    words = ["ssh", "-F", str(board.config), board.address, command]
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as one:
        try:
            until(lambda: bool(_waiting(board)), f"it does not come to its step: {command}", 60)
            yield _waiting(board)[0]
        finally:
            one.kill()


@contextmanager
def standing(board: LightBoard, drill: str) -> Iterator[None]:
    """An agent that stands by, and has a drill when it is asked to go back."""
    folder = f"/run/systemd/system/{services.BEHIND}.d"
    lines = f"[Service]\\nEnvironment=EDGEWREN_DRILL={drill}\\n"
    board.inside(f"mkdir -p {folder}; printf '{lines}' >{folder}/drill.conf; systemctl daemon-reload")
    # It stands there already, without one; the release that waits ends with it, as at the next deployment.
    board.inside(f"systemctl stop {services.BEHIND} {services.unit(previous(board))}")
    board.inside(f"rm -f {ANSWER}; systemctl start {services.BEHIND}")
    until(lambda: board.seen(str(ANSWER)).exists(), "nobody stands by", 30)
    try:
        yield
    finally:
        board.inside(f"rm -r {folder}; systemctl daemon-reload")


def _waiting(board: LightBoard) -> list[int]:
    """Processes of Python that look out for SIGCONT; sudo does so, too."""
    found = []
    for pid in board.processes(".pyz"):
        rows = dict(row.split(":\t", 1) for row in read_process(pid, "status").decode().splitlines() if ":\t" in row)
        python = b"python3" in read_process(pid, "cmdline").split(b"\0")[0]
        found += [pid] if python and int(rows.get("SigCgt", "0"), 16) & _SIGCONT else []
    return found


def check(board: LightBoard, page: Page, release: str, said: object = "") -> None:
    """A release is the current one, it alone runs, and its page answers."""
    until(lambda: is_settled(board), "a switch stays open", 60)
    until(lambda: page(board) == 200, f"no page: {said}", 60)
    assert (current(board), active(board)) == (release, [release]), said


def check_next(board: LightBoard, page: Page, offer: Offer) -> None:
    """What was left there stands in no way of the next installation."""
    done = board.ssh(offer.install())
    assert done.returncode == 0, done.stdout + done.stderr
    check(board, page, offer.release, done)


@pytest.mark.parametrize("name", STEPS)
def test_the_agent_is_killed(board: LightBoard, offers: Iterator[Offer], page: Page, name: str) -> None:
    old, new = current(board), next(offers)
    done = board.ssh(new.install(name))
    assert f"step {name}" in done.stderr or name in _SWITCHING
    check(board, page, new.release if STEPS.index(name) >= _FINAL else old, done)
    check_next(board, page, new)


@pytest.mark.parametrize("name", STEPS)
def test_the_connection_is_lost(board: LightBoard, offers: Iterator[Offer], page: Page, name: str) -> None:
    """Before the switch that ends the work; a switch goes on to its end."""
    old, new = current(board), next(offers)
    with held(board, new.install(f"hold:{name}")) as agent:
        board.lose_connections()
        os.kill(agent, signal.SIGCONT)
        check(board, page, old if name in WATCHED else new.release)
    check_next(board, page, new)


@pytest.mark.parametrize("name", STEPS)
def test_the_power_is_cut(board: LightBoard, offers: Iterator[Offer], page: Page, name: str) -> None:
    old, new = current(board), next(offers)
    with held(board, new.install(f"hold:{name}")):
        board.power_cut()
    board.start()
    check(board, page, new.release if STEPS.index(name) >= _FINAL else old)
    check_next(board, page, new)


@pytest.mark.parametrize("name", _SWITCHING)
def test_a_connection_that_is_lost_on_the_way_back(board: LightBoard, page: Page, name: str) -> None:
    before = previous(board)
    with held(board, f"sudo {shlex.join(apart(['rollback'], f'hold:{name}', '--pipe'))}") as agent:
        # It loads already when the agent has not asked for it yet.
        if name == "switch-noted":
            until(lambda: before in waiting(board), "it is left to the agent", 30)
        board.lose_connections()
        os.kill(agent, signal.SIGCONT)
        check(board, page, before)


@pytest.mark.parametrize("name", _SWITCHING)
def test_who_stands_by_is_killed_on_the_way_back(
    board: LightBoard, offers: Iterator[Offer], page: Page, name: str
) -> None:
    check_next(board, page, next(offers))
    now, before = current(board), previous(board)
    with standing(board, name):
        done = board.ssh(f"sudo sh -c {shlex.quote(AT_HAND)}")
        assert board.seen(str(ASKED)).exists()
        assert (done.returncode, done.stdout) == (0, "")
        check(board, page, before if STEPS.index(name) >= _FINAL else now)


@pytest.mark.parametrize("name", ["switch-noted", "switch-stopped"])
def test_a_connection_to_who_stands_by_is_lost(
    board: LightBoard, offers: Iterator[Offer], page: Page, name: str
) -> None:
    check_next(board, page, next(offers))
    before = previous(board)
    with standing(board, f"hold:{name}"), held(board, f"sudo sh -c {shlex.quote(AT_HAND)}") as agent:
        board.lose_connections()
        os.kill(agent, signal.SIGCONT)
        check(board, page, before)


def test_a_way_back_that_ended_before_it_began(board: LightBoard, page: Page) -> None:
    """The release before was asked to start, and the agent never came to say what for."""
    now, before = current(board), previous(board)
    board.inside(f"echo {before} >{AHEAD}; systemctl start {services.unit(before)}")
    assert (active(board), waiting(board)) == ([now], [before])
    board.inside(f"{shlex.join(PYTHON)} {AGENT} recover")
    assert waiting(board) == []
    check(board, page, now)


def test_no_agent_at_all_to_go_back(board: LightBoard, page: Page) -> None:
    now = current(board)
    board.inside(f"mv {AGENT} {AGENT}.away; printf 'raise SystemExit(3)' >{AGENT}")
    done = board.ssh(f"sudo {shlex.join(apart(['rollback'], '', '--pipe'))}")
    assert done.returncode == 3, done.stdout + done.stderr
    board.inside(f"mv {AGENT}.away {AGENT}; {shlex.join(PYTHON)} {AGENT} recover")
    check(board, page, now)
