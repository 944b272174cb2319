"""The page's token and the password for sudo: where they are, and that they are nowhere else."""

from __future__ import annotations

import os
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.deploy.boards import LightBoard
from tests.deploy.conftest import Bench
from tests.processes import read_process

pytestmark = pytest.mark.machine

_PASSWORD = "Zaunkoenig-4711"
_ASKS = "usermod -aG sudo pi; echo pi:{} | chpasswd; rm /etc/sudoers.d/pi"
_TOKEN = Path("var/lib/edgewren/token")


@dataclass
class Story:
    """What was said and seen while a board was worked with.

    Attributes:
        board: It.
        token: Of its page.
        said: Output of each command.
        words: Command lines that held a secret.
        left: Files left here, by their names.
    """

    board: LightBoard
    token: str
    said: dict[str, str] = field(default_factory=dict)
    words: set[str] = field(default_factory=set)
    left: dict[str, bytes] = field(default_factory=dict)


@pytest.fixture(scope="module")
def story(deployed: Bench, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """A release that comes, one that is taken back, the way back, and a viewer; sudo asks for a password."""
    board = deployed.board()
    told = Story(board, (board.root / _TOKEN).read_text().strip())
    board.inside(_ASKS.format(_PASSWORD))
    here = tmp_path_factory.mktemp("here")
    with pytest.MonkeyPatch.context() as patch, watched(told):
        patch.setenv("TMPDIR", str(here))
        way = ["--ssh-config", board.config]
        for name in ("install", "a bad one", "status", "rollback"):
            if name in ("status", "rollback"):
                done = deployed.run(name, board.address, *way, password=_PASSWORD)
            else:
                more = ["--source", "/nothing.mp4"] if name == "a bad one" else []
                done = deployed.install(board, int(name == "install"), *more, password=_PASSWORD)
            assert done.returncode == (name == "a bad one"), done.stdout + done.stderr
            told.said[name] = done.stdout + done.stderr
            look(board, told.token)
        board.inside("usermod -aG systemd-journal pi")
        done = deployed.run("logs", board.address, *way, "--no-follow", "--lines", "1000")
        assert "edgewren@" in done.stdout, done.stderr
        told.said["logs"] = done.stdout + done.stderr
    told.left = {str(path): path.read_bytes() for path in here.rglob("*") if path.is_file()}
    return told


def look(board: LightBoard, token: str) -> None:
    """As a viewer: with the token in the address, with a wrong one, and with one in the wrong place."""
    page = f"http://{board.host}:8080"
    with urllib.request.urlopen(f"{page}/api/state?token={token}", timeout=10) as answer:
        assert answer.status == 200
    for path in (f"/api/state?token={token}x", f"/nothing/{token}?token={token}"):
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(f"{page}{path}", timeout=10)


@contextmanager
def watched(story: Story) -> Iterator[None]:
    """Looks at the command lines of all processes, here and on the board, again and again."""
    over, secrets = threading.Event(), (_PASSWORD.encode(), story.token.encode())

    def look_around() -> None:
        while not over.wait(0.02):
            for pid in filter(str.isdecimal, os.listdir("/proc")):
                line = read_process(int(pid), "cmdline")
                if any(secret in line for secret in secrets):
                    story.words.add(line.replace(b"\0", b" ").decode("utf-8", "replace"))

    looking = threading.Thread(target=look_around, daemon=True)
    looking.start()
    try:
        yield
    finally:
        over.set()
        looking.join()


def test_the_output(story: Story) -> None:
    """The token is told once, in the address that is the result of the whole."""
    assert [name for name, text in story.said.items() if _PASSWORD in text] == []
    assert [name for name, text in story.said.items() if story.token in text] == ["install"]
    lines = [line for line in story.said["install"].splitlines() if story.token in line]
    assert len(lines) == 1
    assert lines[0].endswith(f"live page: http://{story.board.host}:8080/?token={story.token}")


def test_no_command_line(story: Story) -> None:
    assert story.words == set()


def test_the_journal(story: Story) -> None:
    said = story.board.inside("journalctl --no-pager -o export")
    # It is the right journal: sudo's, the service's and the agent's lines are in it.
    assert all(part in said for part in ("COMMAND=", "apps.live", "edgewren-switch"))
    assert story.token not in said
    assert _PASSWORD not in said


def test_the_boards_files(story: Story) -> None:
    """On its disk and in its memory."""
    secrets = {"token": story.token.encode(), "password": _PASSWORD.encode()}
    found = []
    for folder in (story.board.upper, *(story.board.seen(name) for name in ("run", "tmp", "dev/shm"))):
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink():
                content = path.read_bytes()
                found += [(name, path) for name, secret in secrets.items() if secret in content]
    assert [(name, path) for name, path in found if path != story.board.upper / _TOKEN] == []


def test_the_one_file_that_holds_it(story: Story) -> None:
    owner, group = map(int, story.board.inside("id -u edgewren; id -g edgewren").split())
    for path, mode in ((_TOKEN, 0o600), (_TOKEN.parent, 0o700)):
        found = (story.board.root / path).stat()
        assert (found.st_mode & 0o777, found.st_uid, found.st_gid) == (mode, owner, group)


def test_nothing_is_left_here(story: Story) -> None:
    assert [name for name, content in story.left.items() if _PASSWORD.encode() in content] == []
    assert [name for name, content in story.left.items() if story.token.encode() in content] == []
