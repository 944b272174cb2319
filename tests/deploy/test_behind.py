"""When the release before may wait behind the one that runs, beside stand-ins for systemd and the kernel."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.board import behind, layout, services

_WAITS = "Environment=EDGEWREN_TURN=turn EDGEWREN_CURRENT=/opt/edgewren/current\n"


class Board:
    """Release ``new`` runs, ``old`` did before; ``asked`` is what systemd was told."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.asked = folder, list[tuple[str, ...]]()
        self.running, self.stands = {"new"}, False
        self.nice: list[str] = []
        for name in ("CURRENT", "PREVIOUS"):
            monkeypatch.setattr(behind, name, folder / name.lower())
        monkeypatch.setattr(layout, "RELEASES", folder / "releases")
        monkeypatch.setattr(behind, "_MEMORY", folder / "meminfo")
        monkeypatch.setattr(services, "systemctl", lambda *words, check=True: self.asked.append(words))
        monkeypatch.setattr(services, "running", lambda: self.running)
        monkeypatch.setattr(services, "stands", lambda: self.stands)
        monkeypatch.setattr(services, "processes", lambda release: {"7"})
        monkeypatch.setattr(services, "give_way", self.nice.append)
        for release in ("old", "new"):
            self.release(release, _WAITS)
        self.link("current", "new")
        self.link("previous", "old")
        self.free(500)

    def release(self, name: str, unit: str) -> None:
        path = self.folder / "releases" / name
        path.mkdir(parents=True, exist_ok=True)
        (path / ".complete").touch()
        (path / "release.json").write_text(json.dumps({"unit": unit}))

    def link(self, name: str, release: str) -> None:
        (self.folder / name).unlink(missing_ok=True)
        (self.folder / name).symlink_to(f"releases/{release}")

    def free(self, mib: int) -> None:
        (self.folder / "meminfo").write_text(f"MemTotal: 999 kB\nMemAvailable: {mib << 10} kB\n")


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Board:
    return Board(tmp_path, monkeypatch)


def test_the_release_before_starts_and_yields(board: Board) -> None:
    assert behind.begin()
    assert board.asked == [("start", "--no-block", services.unit("old"))]
    assert board.nice == ["old"]


@pytest.mark.parametrize("case", ["no memory", "none before", "the same", "it does not know how to wait"])
def test_it_does_not_where_that_is_of_no_use(board: Board, case: str) -> None:
    match case:
        case "no memory":
            board.free(300)
        case "none before":
            (board.folder / "previous").unlink()
        case "the same":
            board.link("previous", "new")
        case _:
            board.release("old", "Environment=EDGEWREN_TURN=turn\n")
    assert not behind.begin()
    assert board.asked == []


def test_one_that_waits_already_goes_on_waiting(board: Board) -> None:
    board.running.add("old")
    board.free(300)
    assert behind.begin()
    assert board.asked == []
    assert board.nice == ["old"]


class Owner:
    """A process of release ``new`` that has its turn and notes a signal; ``next`` waits for it.

    Args:
        board: Where they run.
        gives_way: Whether it gives its turn up on the signal.
    """

    def __init__(self, board: Board, gives_way: bool) -> None:
        self.turn, self.signalled = board.folder / "turn", board.folder / "signalled"
        files = str(self.signalled), str(self.turn), "2" if gives_way else ""
        self.process = subprocess.Popen([sys.executable, "-c", _OWNER, *files], stdout=subprocess.PIPE)
        assert self.process.stdout
        assert self.process.stdout.readline() == b"runs\n"
        self.turn.write_text(f"{self.process.pid}\n")
        self.processes = {"new": {str(self.process.pid)}, "next": {"2"}}


_OWNER = """
import pathlib, signal, sys
signalled, turn, gives_way = sys.argv[1:]
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
print("runs", flush=True)
while signal.sigwait([signal.SIGUSR1]):
    pathlib.Path(signalled).touch()
    if gives_way:
        pathlib.Path(turn).write_text(gives_way)
"""


@pytest.fixture
def owner(board: Board, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Owner]:
    owner = Owner(board, request.param)
    monkeypatch.setattr(layout, "TURN", owner.turn)
    monkeypatch.setattr(services, "processes", owner.processes.__getitem__)
    board.release("new", f"{_WAITS}Environment={layout.STEPS_BACK}\n")
    yield owner
    owner.process.kill()
    owner.process.communicate()


@pytest.mark.parametrize("owner", [True], indirect=True)
def test_the_one_that_runs_gives_camera_and_port_to_the_next(board: Board, owner: Owner) -> None:
    board.free(260)
    assert behind.step_back("new", "next")
    assert owner.turn.read_text() == "2"
    assert owner.process.poll() is None


@pytest.mark.parametrize("owner", [False], indirect=True)
def test_one_that_is_stuck_is_to_be_stopped(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(behind, "_STEP_BACK_S", 0.2)
    assert not behind.step_back("new", "next")


@pytest.mark.parametrize("owner", [False], indirect=True)
def test_it_stays_when_the_next_one_died(owner: Owner) -> None:
    owner.processes["next"].clear()
    assert behind.step_back("new", "next")


@pytest.mark.parametrize("owner", [True], indirect=True)
@pytest.mark.parametrize("case", ["no memory", "it does not know how to", "not its turn", "nobody's turn"])
def test_nobody_is_asked_who_cannot_give_way(board: Board, owner: Owner, case: str) -> None:
    match case:
        case "no memory":
            board.free(200)
        case "it does not know how to":
            board.release("new", _WAITS)
        case "not its turn":
            owner.turn.write_text("3\n")
        case _:
            owner.turn.unlink()
    assert not behind.step_back("new", "next")
    assert not owner.signalled.exists()


def test_the_next_release_ends_what_waits_and_nothing_else(board: Board) -> None:
    behind.dismiss()
    assert board.asked == []
    board.running |= {"old", "older"}
    behind.dismiss()
    board.stands = True
    behind.dismiss()
    waiting = services.unit("old"), services.unit("older")
    assert board.asked == [("stop", *waiting), ("stop", *waiting, services.BEHIND)]
