"""The agent that stands by while the release before waits: how it is asked, and what it answers."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.board import services, standing
from deploy.board.steps import BoardError
from deploy.engine import line

_DONE = '{"changed": true, "release": "old", "was": "new", "gap_s": 0.5}'
_FAILED = '{"changed": false, "failed": "rolled back to new: it died"}'
_ANEW = "a new agent"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders of a board with an agent, and a stand-in for what runs one."""
    for folder in ("run", "bin", "opt/edgewren"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "opt/edgewren/agent.pyz").touch()
    program(tmp_path, "systemd-run", f"echo {_ANEW}")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    return tmp_path


def program(root: Path, name: str, text: str) -> None:
    path = root / "bin" / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@contextlib.contextmanager
def standing_by(root: Path, tree: str = "system.slice", answer: str | None = None) -> Iterator[Path]:
    """An agent that answers when it is asked, or dies of it; what it was asked is in the file."""
    pipe, asked = root / "run/edgewren.answer", root / "asked"
    os.mkfifo(pipe)
    agent = root / "agent.pyz"
    tell = f"print({answer!r}, file=open({str(pipe)!r}, 'w'))" if answer else "os.kill(os.getpid(), 9)"
    agent.write_text(
        f"import os, signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])\nprint('stands', flush=True)\n"
        f"signal.sigwait([signal.SIGUSR1])\nopen({str(asked)!r}, 'w').close()\n{tell}\n"
    )
    listing = root / f"sys/fs/cgroup/{tree}/system-edgewren.slice/{services.BEHIND}/cgroup.procs"
    listing.parent.mkdir(parents=True)
    with subprocess.Popen([sys.executable, agent, "behind"], stdout=subprocess.PIPE) as process:
        # The first one is somebody else; the last one ended after it was listed.
        listing.write_text(f"{os.getpid()}\n{process.pid}\n{2**22 + 1}\n")
        assert process.stdout
        assert process.stdout.readline() == b"stands\n"
        after = threading.Thread(target=_end, args=(process, pipe))
        after.start()
        try:
            yield asked
        finally:
            process.kill()
            after.join()


def _end(process: subprocess.Popen[bytes], pipe: Path) -> None:
    """What systemd does when the agent has ended."""
    process.wait()
    with contextlib.suppress(OSError), open(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK), "w") as stream:
        stream.write("\n")


def go_back(root: Path) -> tuple[int, str]:
    """What the shell that a rollback runs gives: status, and the last line it printed."""
    text = line("rollback")
    for folder in ("/opt/", "/run/", "/sys/fs/"):
        text = text.replace(folder, f"{root}{folder}")
    done = subprocess.run(["sh", "-c", text], capture_output=True, text=True, check=False, timeout=30)
    assert done.stderr == ""
    return done.returncode, done.stdout.strip()


@pytest.mark.parametrize("tree", ["system.slice", "systemd/system.slice"])
@pytest.mark.parametrize(
    ("answer", "seen"),
    [(_DONE, (0, _DONE)), (_FAILED, (1, _FAILED)), (None, (0, _ANEW))],
    ids=["went back", "could not", "died"],
)
def test_an_agent_that_stands_there_is_asked(root: Path, tree: str, answer: str | None, seen: tuple[int, str]) -> None:
    with standing_by(root, tree, answer) as asked:
        assert go_back(root) == seen
        assert asked.exists()


def test_where_none_stands_another_is_run(root: Path) -> None:
    assert go_back(root) == (0, _ANEW)
    with standing_by(root):
        pass
    # Its pipe is still there, and so is the listing of a kernel that is slow to forget.
    assert go_back(root) == (0, _ANEW)


def test_one_that_was_asked_already_is_not_asked_again(root: Path) -> None:
    """The second one would undo what the first one wanted."""
    (root / "run/edgewren.asked").touch()
    with standing_by(root, answer=_DONE) as asked:
        status, said = go_back(root)
        assert (status, "under way" in json.loads(said)["failed"]) == (1, True)
        assert not asked.exists()


def test_one_that_still_loads_is_left_alone(root: Path) -> None:
    with standing_by(root, answer=_DONE) as asked:
        (root / "run/edgewren.answer").unlink()
        assert go_back(root) == (0, _ANEW)
        assert not asked.exists()


def test_where_nothing_is_deployed_nobody_is_asked(root: Path) -> None:
    (root / "opt/edgewren/agent.pyz").unlink()
    with standing_by(root, answer=_DONE) as asked:
        status, said = go_back(root)
        assert (status, json.loads(said)["failed"]) == (1, "nothing is deployed there")
        assert not asked.exists()


class Post:
    """An agent at its post; a test changes what happens while it stands there."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: list[object] = []
        self.asked, self.begins, self.dies, self.failure = True, True, False, ""
        self.readers: list[int] = []
        self.processes, self.switch = {"7"}, folder / "switch"
        self.answer, self.note = folder / "answer", folder / "asked"
        paths = {"ANSWER": self.answer, "ASKED": self.note, "SWITCH": self.switch, "PREVIOUS": folder / "previous"}
        for name, path in paths.items():
            monkeypatch.setattr(standing, name, path)
        for path in (self.answer, self.note):
            path.write_text("of an earlier one\n")
        monkeypatch.setattr("deploy.board.switch.LOCK", folder / "lock")
        monkeypatch.setattr(standing, "begin", lambda: self.begins)
        monkeypatch.setattr(standing, "linked_release", lambda path: "old")
        monkeypatch.setattr(standing, "rollback", self.rollback)
        monkeypatch.setattr(services, "hurry", lambda: self.done.append("hurries"))
        monkeypatch.setattr(services, "start", lambda release: self.done.append(f"{release} loads"))
        monkeypatch.setattr(services, "processes", lambda release: self.processes)
        monkeypatch.setattr(services, "systemctl", lambda *words, check: self.done.append(" ".join(words)))
        monkeypatch.setattr(signal, "pthread_sigmask", lambda how, which: self.done.append("listens"))
        monkeypatch.setattr(signal, "sigtimedwait", self.wait)
        monkeypatch.setattr(os, "environ", dict(os.environ))

    def wait(self, which: set[int], seconds: float) -> object:
        assert (which, seconds) == ({signal.SIGUSR1}, 900)
        assert not self.note.exists()
        assert stat.S_ISFIFO(self.answer.stat().st_mode)
        assert stat.S_IMODE(self.answer.stat().st_mode) == 0o600
        self.readers = [os.open(self.answer, os.O_RDWR) for _ in self.readers]
        if self.dies:
            self.processes = {"8"}
        return object() if self.asked else None

    def rollback(self, loaded: set[str]) -> dict[str, object]:
        self.done.append(loaded)
        assert os.environ["EDGEWREN_APART"] == "1"
        if self.failure:
            raise BoardError(self.failure)
        return {"changed": True, "release": "old"}

    def stand(self) -> object:
        """What it does, and what a reader of the pipe is told."""
        self.readers = [-1]
        assert standing.behind() == {"changed": True}
        with open(self.readers[0]) as reader:
            return json.loads(reader.readline())


@pytest.fixture
def post(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Post:
    return Post(tmp_path, monkeypatch)


def test_it_goes_back_when_it_is_asked(post: Post) -> None:
    assert post.stand() == {"changed": True, "release": "old"}
    assert post.done == ["listens", "old loads", "hurries", {"7"}]


def test_it_tells_why_it_could_not(post: Post) -> None:
    post.failure = "rolled back to new: it died"
    assert post.stand() == {"changed": False, "failed": post.failure}


def test_it_goes_back_for_somebody_who_has_left(post: Post) -> None:
    assert standing.behind() == {"changed": True}
    assert post.done == ["listens", "old loads", "hurries", {"7"}]


def test_a_death_while_it_waited_does_not_count(post: Post) -> None:
    post.dies = True
    standing.behind()
    assert post.done[2:] == ["hurries", f"reset-failed {services.unit('old')}", {"7"}]


def test_it_leaves_its_post_when_nobody_asks(post: Post) -> None:
    post.asked = False
    assert standing.behind() == {"changed": True}
    assert post.done == ["listens", "old loads"]


@pytest.mark.parametrize("case", ["nothing waits", "a switch is open"])
def test_it_does_not_stand_for_nothing(post: Post, case: str) -> None:
    if case == "nothing waits":
        post.begins = False
    else:
        post.switch.write_text('{"from": "old"}')
    assert standing.behind() == {"changed": False}
    assert post.done == ["listens"]
