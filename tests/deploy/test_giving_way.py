"""What a switch asks of systemd and of the kernel, and how often, beside stand-ins for both."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from deploy.board import services, switch
from deploy.board.steps import BoardError
from tests.conftest import ROOT

_SYSTEMCTL = """#!/bin/sh
echo "$1" >> {log}
case $1 in
start) sleep {seconds}; exit {status};;
show) echo NRestarts={restarts};;
esac
"""


class Systemd:
    """A ``systemctl`` and the numbers of a service's processes, look by look."""

    def __init__(self, folder: Path) -> None:
        self.log, self._program = folder / "log", folder / "systemctl"
        self.log.touch()
        self.processes: Iterator[set[str]] = iter(())

    def says(self, seconds: float, status: int = 0, restarts: int = 0) -> None:
        text = _SYSTEMCTL.format(log=self.log, seconds=seconds, status=status, restarts=restarts)
        self._program.write_text(text)
        self._program.chmod(0o755)

    @property
    def asked(self) -> list[str]:
        return self.log.read_text().split()


@pytest.fixture
def systemd(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Systemd:
    made = Systemd(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(services, "_LOOK_EVERY_S", 0.02)
    monkeypatch.setattr(services, "processes", lambda release: next(made.processes))
    monkeypatch.setattr(services, "last_words", lambda release: "it said nothing")
    return made


def test_a_release_that_loads_is_left_alone(systemd: Systemd) -> None:
    systemd.says(0.5)
    looks = count()
    systemd.processes = ({"7"} for _ in looks)
    services.start("one", 60)
    # Now and then all the same, for what the kernel does not show.
    assert systemd.asked == ["start", *["show"] * (next(looks) // 10)]


@pytest.mark.parametrize("later", [set(), {"8"}], ids=["gone", "started again"])
def test_a_release_that_ends_while_it_loads_is_seen(systemd: Systemd, later: set[str]) -> None:
    systemd.says(60, restarts=1)
    systemd.processes = ({"7"} if look < 3 else later for look in count())
    with pytest.raises(BoardError, match="did not start: it said nothing"):
        services.start("one", 60)
    assert "show" in systemd.asked


def test_where_the_kernel_shows_no_processes_systemd_is_asked(systemd: Systemd) -> None:
    systemd.says(60, restarts=1)
    systemd.processes = (set() for _ in count())
    with pytest.raises(BoardError, match="did not start"):
        services.start("one", 60)


def test_a_start_that_fails_is_told(systemd: Systemd) -> None:
    systemd.says(0, status=1)
    with pytest.raises(BoardError, match="did not start"):
        services.start("one", 60)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[Any, ...]]:
    """What a switch on a board in ``tmp_path`` does, in order; release ``old`` runs there."""
    made: list[tuple[Any, ...]] = []
    for name in ("CURRENT", "PREVIOUS", "LAST", "SWITCH"):
        monkeypatch.setattr(switch, name, tmp_path / name.lower())
    for name in ("give_way", "start", "stop", "remove_unit"):
        monkeypatch.setattr(services, name, lambda *words, name=name, **more: made.append((name, *words)))
    monkeypatch.setattr(services, "processes", lambda release: {"7"})
    monkeypatch.setattr(switch, "linked_release", lambda path: "old")

    def well(*words: object) -> float:
        made.append(("well",))
        return 0.0

    monkeypatch.setattr(switch, "wait_until_well", well)
    return made


def test_who_gives_way_gets_the_processor_back_to_end_on(calls: list[tuple[Any, ...]]) -> None:
    switch.switch("new")
    assert calls == [
        ("give_way", "old"),
        ("give_way", "new", False),
        ("start", "new"),
        ("stop", "old"),
        ("well",),
        ("give_way", "old", False),
    ]


def test_who_takes_over_again_gets_it_back_too(calls: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    def ill(*words: object) -> float:
        raise BoardError("no page")

    monkeypatch.setattr(switch, "wait_until_well", ill)
    with pytest.raises(BoardError, match="no page"):
        switch.switch("new")
    assert calls[4:] == [("give_way", "old", False), ("start", "old"), ("stop", "new"), ("remove_unit", "new")]


def test_whoever_hurries_goes_before_others_where_it_may() -> None:
    may = "import os; os.setpriority(os.PRIO_PROCESS, 0, -10)"
    hurries = "from deploy.board import services; services.hurry()"
    nice = "import os; print(os.getpriority(os.PRIO_PROCESS, 0))"
    allowed, done = (
        subprocess.run([sys.executable, "-c", f"{line}; {nice}"], cwd=ROOT, capture_output=True, text=True, check=False)
        for line in (may, hurries)
    )
    assert done.stdout.strip() == ("-10" if allowed.returncode == 0 else str(os.getpriority(os.PRIO_PROCESS, 0)))
