"""The agent as it lies on a board: one file, quick to load, and robust where nobody listens."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from deploy.board.bundle import Bundle
from deploy.board.carried import FOLDER
from deploy.board.health import ask
from deploy.board.steps import STEPS, WATCHED, BoardError, step
from deploy.bundle import write_agent
from deploy.engine import line


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    """The file that is left on a board."""
    target = tmp_path / "agent.pyz"
    assert Bundle(write_agent(tmp_path / "carried.pyz")).install_agent(target)
    return target


def test_it_is_written_once(agent: Path, tmp_path: Path) -> None:
    assert not Bundle(tmp_path / "carried.pyz").install_agent(agent)


def test_it_runs_without_any_package_and_from_byte_code(agent: Path, tmp_path: Path) -> None:
    """Sources that cannot be compiled are not even looked at, but by a Python of another version."""
    spoilt = tmp_path / "spoilt.pyz"
    with zipfile.ZipFile(agent) as whole, zipfile.ZipFile(spoilt, "w") as changed:
        for name in whole.namelist():
            source = name.endswith(".py") and name != "__main__.py"
            changed.writestr(name, "this is no Python" if source else whole.read(name))
    for path in (agent, spoilt):
        done = subprocess.run([sys.executable, "-I", "-S", path, "status"], capture_output=True, text=True, check=False)
        assert json.loads(done.stdout)["releases"] == [], done.stderr


def test_what_every_command_loads_is_little(agent: Path) -> None:
    """Each of these takes a small board as long as a whole command of systemd's."""
    code = f"import sys; sys.path.insert(0, {str(agent)!r}); import deploy.board.operating; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {"dataclasses", "zipfile", "http.client", "venv"}


def test_what_carried_it_goes(tmp_path: Path) -> None:
    """As Ansible carries it; what a deployment that is on its way has brought stays, and the folder with it."""
    folder = tmp_path / FOLDER
    for name, old in (("ansible-tmp-1", False), ("ansible-tmp-2", True), ("ansible-tmp-3", False)):
        (folder / name).mkdir(parents=True)
        if old:
            os.utime(folder / name, (0, 0))
    carried = write_agent(folder / "ansible-tmp-1" / "agent.pyz")
    done = subprocess.run([sys.executable, "-I", "-S", carried, "status"], capture_output=True, text=True, check=False)
    assert "releases" in done.stdout, done.stderr
    assert [path.name for path in folder.iterdir()] == ["ansible-tmp-3"]
    (folder / "ansible-tmp-3").rmdir()
    carried = folder / "ansible-tmp-1" / "agent.pyz"
    carried.parent.mkdir()
    subprocess.run([sys.executable, "-I", "-S", write_agent(carried), "status"], capture_output=True, check=False)
    assert not folder.exists()


def test_where_nothing_is_deployed_a_line_says_so() -> None:
    done = subprocess.run(["sh", "-c", line("rollback")], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert json.loads(done.stdout)["failed"] == "nothing is deployed there"


@pytest.fixture
def page() -> Iterator[tuple[int, dict[str, tuple[int, bytes]]]]:
    """A server's port, and its answers by path."""
    answers: dict[str, tuple[int, bytes]] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answers.get(self.path, (404, b""))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: object) -> None:
            """Says nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port, answers
        server.shutdown()


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({"/healthz": (200, b"live")}, ""),
        ({"/healthz": (503, b"stuck: no\nresult")}, "/healthz answers 503 stuck: no result"),
        ({"/": (200, b"<html>")}, ""),
        ({}, "it has no page"),
    ],
)
def test_the_health_of_a_page(
    page: tuple[int, dict[str, tuple[int, bytes]]], answers: dict[str, tuple[int, bytes]], said: str
) -> None:
    page[1].update(answers)
    assert ask(page[0]) == said


@pytest.mark.parametrize("name", STEPS)
def test_nobody_listens(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Before the switch that ends the work, after that it does not."""
    reading, writing = os.pipe()
    os.close(reading)
    # What could not be said is said again when the stream is closed.
    with suppress(BrokenPipeError), open(writing, "w") as nobody:
        monkeypatch.setattr(sys, "stderr", nobody)
        if name in WATCHED:
            with pytest.raises(BoardError, match=f"the connection was lost before {name}"):
                step(name)
        else:
            step(name)
    assert WATCHED[-1] == "units"


def test_no_page_at_all(page: tuple[int, object]) -> None:
    assert "refused" in ask(1)
