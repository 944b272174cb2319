"""Two releases that take turns with a port and a state file, as processes: the live app, signals and a link."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.apps.sockets import ask, change, request
from tests.conftest import ROOT
from tests.ports import free_port
from tests.waiting import until

_SHAPE = {"name": "gate", "kind": "line", "points": [[0.5, 0], [0.5, 1]]}


class Board:
    """A link, a turn and a state file, and releases ``old`` and ``new``: the same app under two names."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.folder, self.model = folder, model
        self.address = f"127.0.0.1:{free_port()}"
        self.releases: dict[str, subprocess.Popen[str]] = {}
        self.said: dict[str, socket.socket] = {}

    def point(self, release: str) -> None:
        (self.folder / "next").symlink_to(release)
        (self.folder / "next").rename(self.folder / "current")

    def start(self, release: str) -> None:
        (self.folder / release).mkdir()
        paths = {"TURN": "turn", "CURRENT": "current", "RELEASE": release}
        settings = {f"EDGEWREN_{name}": str(self.folder / value) for name, value in paths.items()}
        settings |= {"EDGEWREN_PATIENCE": "120", "EDGEWREN_STEP_BACK": "SIGUSR1"}
        settings["NOTIFY_SOCKET"] = str(self.folder / f"{release}-says")
        self.said[release] = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.said[release].bind(settings["NOTIFY_SOCKET"])
        self.said[release].settimeout(60)
        words = [str(self.model), "synthetic://cards?size=160x120", f"http://{self.address}"]
        self.releases[release] = subprocess.Popen(
            [sys.executable, "-m", "apps.live", *words, "--state", str(self.folder / "state.json"), "--max-fps", "10"],
            cwd=ROOT,
            env=os.environ | settings,
            stderr=subprocess.PIPE,
            text=True,
        )

    def is_loaded(self, release: str) -> None:
        """Waits until it tells the service manager once more that it is ready to have its turn."""
        while self.said[release].recv(64) != b"READY=1":
            pass

    def switch(self, one: str, other: str) -> int:
        """Has one release step back for the other; how many threads it has left while it waits."""
        self.point(other)

        def done() -> bool:
            # Its page may be there a moment before it obeys signals; one that waits passes them over.
            self.releases[one].send_signal(signal.SIGUSR1)
            return self.has_turn(other)

        until(done, f"{other} has no page", 60)
        self.is_loaded(one)
        return settled(self.releases[one])

    def has_turn(self, release: str) -> bool:
        """Whether its process has the turn and its page is well."""
        turn = self.folder / "turn"
        if not turn.exists() or turn.read_text().strip() != str(self.releases[release].pid):
            return False
        try:
            with request(self.address, "/healthz") as answer:
                return answer.status == 200
        except (OSError, http.client.HTTPException):
            return False


@pytest.fixture
def board(tmp_path: Path, tiny_model: Path) -> Iterator[Board]:
    board = Board(tmp_path, tiny_model)
    yield board
    for process in board.releases.values():
        process.kill()
        process.communicate()
    for channel in board.said.values():
        channel.close()


def settled(process: subprocess.Popen[str]) -> int:
    """How many threads a process has when it has put away what it does not need while it waits."""
    counts: list[int] = []

    def steady() -> bool:
        counts.append(len(os.listdir(f"/proc/{process.pid}/task")))
        return len(counts) > 10 and len(set(counts[-10:])) == 1

    until(steady, "its threads come and go", 60, pause=0.1)
    return counts[-1]


def test_who_gives_its_turn_up_waits_and_has_it_again(board: Board) -> None:
    board.point("old")
    board.start("old")
    board.is_loaded("old")
    until(lambda: board.has_turn("old"), "the first has no page", 60)
    board.start("new")
    board.is_loaded("new")
    threads = board.switch("old", "new")
    assert change(board.address, {"shapes": [_SHAPE]})[0] == 200
    board.switch("new", "old")
    # What was drawn meanwhile is there.
    assert [shape["name"] for shape in ask(board.address, "/api/state")["shapes"]] == ["gate"]
    assert board.switch("old", "new") == threads
    # One that waits ends like any other.
    for process in board.releases.values():
        assert process.poll() is None
        process.terminate()
    assert board.releases["new"].wait(30) == 0
    assert board.releases["old"].wait(30) == -signal.SIGTERM
