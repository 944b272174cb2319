"""The line of shell that has the release before start while the agent loads, with a stand-in for systemd."""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.board import apart, services

_IDLE = "systemctl was not asked"


class Board:
    """Folders of a board below ``root``: release ``new`` runs, and ``old`` did before."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.note, self.log = root, root / "run/edgewren.ahead", root / "log"
        for folder in ("run", "bin", "opt/edgewren/releases/old", "opt/edgewren/releases/new"):
            (root / folder).mkdir(parents=True)
        for release in ("old", "new"):
            self.path(f"releases/{release}/.complete").touch()
        self.link("previous", "old")
        self.link("current", "new")
        (root / "bin/systemctl").write_text(f'#!/bin/sh\necho "$*" >>{self.log}\n')
        (root / "bin/systemctl").chmod(0o755)
        monkeypatch.setenv("PATH", f"{root}/bin:{os.environ['PATH']}")

    def path(self, name: str) -> Path:
        return self.root / "opt/edgewren" / name

    def link(self, name: str, release: str) -> None:
        self.path(name).unlink(missing_ok=True)
        self.path(name).symlink_to(f"releases/{release}")

    def go(self) -> str:
        """Has the line run a program; what systemd was asked before that."""
        words = apart.ahead(["printf", "%s|", "agent", "a b"])
        for folder in ("/opt/", "/run/", "/sys/fs/"):
            words = [word.replace(folder, f"{self.root}{folder}") for word in words]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        assert (done.stdout, done.stderr) == ("agent|a b|", "")
        return self.log.read_text().strip() if self.log.exists() else _IDLE


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Board:
    return Board(tmp_path, monkeypatch)


def test_the_release_before_starts_and_a_note_says_so(board: Board) -> None:
    assert board.go() == f"start --no-block {services.unit('old')}"
    assert board.note.read_text() == "old\n"


@pytest.mark.parametrize(("process", "starts"), [("", True), ("7\n", False)])
@pytest.mark.parametrize("tree", ["system.slice", "systemd/system.slice"])
def test_who_waits_already_is_not_started_again(board: Board, tree: str, process: str, starts: bool) -> None:
    listing = board.root / f"sys/fs/cgroup/{tree}/system-edgewren.slice/{services.unit('old')}/cgroup.procs"
    listing.parent.mkdir(parents=True)
    listing.write_text(process)
    assert board.go() == (f"start --no-block {services.unit('old')}" if starts else _IDLE)
    assert board.note.exists() == starts


@pytest.mark.parametrize(
    "change",
    [
        lambda board: board.path("previous").unlink(),
        lambda board: board.path("current").unlink(),
        lambda board: board.link("previous", "new"),
        lambda board: board.path("releases/old/.complete").unlink(),
        lambda board: board.path("switch.json").touch(),
    ],
    ids=["none before", "none runs", "the same", "half gone", "a switch that was cut off"],
)
def test_what_is_not_plain_is_left_to_the_agent(board: Board, change: Callable[[Board], None]) -> None:
    change(board)
    assert board.go() == _IDLE
    assert not board.note.exists()


def test_nothing_starts_while_somebody_is_at_work(board: Board) -> None:
    with (board.root / "run/edgewren.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert board.go() == _IDLE
    assert not board.note.exists()


@pytest.mark.parametrize(
    ("started", "wanted", "stopped"),
    [("old", "old", False), ("new", "", False), ("old", "", True), ("old", "third", True), ("", "old", False)],
    ids=["wanted", "current", "nobody's", "another's", "nothing"],
)
def test_who_was_started_for_nothing_is_stopped(
    board: Board, monkeypatch: pytest.MonkeyPatch, started: str, wanted: str, stopped: bool
) -> None:
    made: list[tuple[object, ...]] = []
    for name in ("stop", "give_way"):
        monkeypatch.setattr(services, name, lambda *words, name=name: made.append((name, *words)))
    monkeypatch.setattr(apart, "AHEAD", board.note)
    monkeypatch.setattr(apart, "linked_release", lambda path: "new")
    if started:
        board.note.write_text(f"{started}\n")
    apart.call_off(wanted)
    assert made == ([("stop", started), ("give_way", "new", False)] if stopped else [])
    assert not board.note.exists()
