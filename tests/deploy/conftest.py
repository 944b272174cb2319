"""Boards in containers, and one of them with a release to begin from."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.deploy.boards import LightBoard, running, why_not

SOURCE = "synthetic://cards?fps=5"


@dataclass
class Bench:
    """Makes boards and runs the commands against them.

    Attributes:
        folder: For all of them.
        models: Two small detectors with different contents.
        base: Files of a board that runs the first model, empty before there is one.
    """

    folder: Path
    models: tuple[Path, Path]
    stack: ExitStack
    base: tuple[Path, ...] = ()
    made: list[LightBoard] = field(default_factory=list)

    def board(self, *, fresh: bool = False) -> LightBoard:
        """A running board; it has the first release unless it is to be fresh."""
        number = len(self.made)
        board = LightBoard(self.folder / str(number), number, self.folder, () if fresh else self.base)
        self.made.append(board)
        self.stack.enter_context(running(board))
        return board

    def run(
        self, command: str, *arguments: object, cwd: Path = ROOT, password: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """``python -m deploy command``."""
        words = [sys.executable, "-m", "deploy", command, *map(str, arguments)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "EDGEWREN_SUDO_PASSWORD": password}
        return subprocess.run(
            words,
            capture_output=True,
            text=True,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            timeout=300,
            check=False,
        )

    def install(
        self, board: LightBoard, model: int = 0, *more: str, cwd: Path = ROOT, password: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Installs one of the models."""
        what = ["--model", self.models[model], "--source", SOURCE]
        return self.run(
            "install", board.address, "--ssh-config", board.config, *what, *more, cwd=cwd, password=password
        )

    @staticmethod
    def shared_config(boards: list[LightBoard], folder: Path) -> Path:
        """One ssh configuration that knows all their host keys."""
        known = folder / "known"
        known.write_text("".join((board.folder / "known_hosts").read_text() for board in boards))
        path = folder / "config"
        own = str(boards[0].folder / "known_hosts")
        path.write_text(boards[0].config.read_text().replace(own, str(known)))
        return path


@contextmanager
def workbench(model: Path) -> Iterator[Bench]:
    """Boards for a while; the second model is the first with another content.

    Args:
        model: A detector.
    """
    # Overlays over / whose own folders are not below it: a file system of their own.
    folder = Path(tempfile.mkdtemp(prefix="edgewren-boards-"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3g,mode=755", "boards", folder], check=True)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.callback(lambda: subprocess.run(["umount", "-l", folder], check=False))
        models = (folder / "first.tflite", folder / "second.tflite")
        for path in models:
            shutil.copy(model, path)
        with zipfile.ZipFile(models[1], "a") as archive:
            archive.comment = b"second"
        yield Bench(folder, models, stack)


@pytest.fixture(scope="session")
def bench(tiny_model: Path) -> Iterator[Bench]:
    """Boards; with the first, a release that others begin from."""
    if reason := why_not():
        pytest.skip(reason)
    with workbench(tiny_model) as made:
        yield made


@pytest.fixture(scope="session")
def deployed(bench: Bench) -> Bench:
    """Boards that run the first model: installed once, from nothing, on a fresh one."""
    board = bench.board(fresh=True)
    done = bench.install(board)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "live page: http" in done.stdout
    bench.base = board.freeze()
    return bench


@pytest.fixture
def page() -> Callable[[LightBoard], int]:
    """Asks a board's live page; the status."""

    def ask(board: LightBoard) -> int:
        curl = "curl -s -m 5 -o /dev/null -w '%{http_code} ' http://127.0.0.1:8080"
        health, root = map(int, board.inside(f"{curl}/healthz; {curl}/; true").split())
        return root if health == 404 else health

    return ask
