"""The app as a service: systemd's datagrams, read from a real socket, and the turn, taken by a real process."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from apps.service import NOT_WANTED, Service
from tests.conftest import ROOT

_HOLDER = "import sys, time; from apps.service import Service; Service({'EDGEWREN_TURN': sys.argv[1]}).ready()"


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """systemd's end of the channel, and what it calls it."""
    address = str(tmp_path / "notify") if request.param == "path" else f"\0{tmp_path}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.settimeout(5)
        channel.bind(address)
        yield channel, address.replace("\0", "@")


def test_ready_and_alive_are_told(manager: tuple[socket.socket, str]) -> None:
    channel, address = manager
    service = Service({"NOTIFY_SOCKET": address})
    service.ready()
    for _ in range(100):
        service.alive()
    assert [channel.recv(64), channel.recv(64)] == [b"READY=1", b"WATCHDOG=1"]
    channel.setblocking(False)
    with pytest.raises(BlockingIOError):
        channel.recv(64)


@pytest.mark.parametrize("address", ["", "/nowhere/notify"])
def test_a_manager_that_is_not_there_does_not_matter(address: str) -> None:
    service = Service({"NOTIFY_SOCKET": address})
    service.ready()
    service.alive()


def test_the_next_release_waits_until_the_one_before_has_ended(tmp_path: Path) -> None:
    turn = tmp_path / "turn"
    command = [sys.executable, "-c", f"{_HOLDER}; print('mine', flush=True); time.sleep(60)", str(turn)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout
        assert first.stdout.readline() == "mine\n"
        assert turn.read_text() == f"{first.pid}\n"
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as second:
            assert second.stdout
            time.sleep(0.5)
            assert second.poll() is None
            first.kill()
            assert second.stdout.readline() == "mine\n"
            assert turn.read_text() == f"{second.pid}\n"
            second.kill()


def test_only_the_release_that_the_link_names_has_its_turn(tmp_path: Path) -> None:
    """Whoever waits behind another does not take over when that one dies, and leaves its number in the file."""
    turn, link = tmp_path / "turn", tmp_path / "current"
    for release in ("new", "old"):
        (tmp_path / release).mkdir()
    link.symlink_to("new")
    holder = (
        "import sys, time; from apps.service import Service; turn, link, release = sys.argv[1:]; "
        "Service({'EDGEWREN_TURN': turn, 'EDGEWREN_CURRENT': link, 'EDGEWREN_RELEASE': release}).ready("
        "lambda: print('waits', flush=True)); print('mine', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", holder, str(turn), str(link)]
    with (
        subprocess.Popen([*command, str(tmp_path / "new")], cwd=ROOT, stdout=subprocess.PIPE, text=True) as new,
        subprocess.Popen([*command, str(tmp_path / "old")], cwd=ROOT, stdout=subprocess.PIPE, text=True) as old,
    ):
        try:
            assert new.stdout
            assert old.stdout
            assert [new.stdout.readline(), new.stdout.readline()] == ["waits\n", "mine\n"]
            assert old.stdout.readline() == "waits\n"
            time.sleep(0.3)
            new.kill()
            new.wait()
            time.sleep(0.3)
            assert turn.read_text() == f"{new.pid}\n"
            (tmp_path / "next").symlink_to("old")
            (tmp_path / "next").rename(link)
            assert old.stdout.readline() == "mine\n"
            assert turn.read_text() == f"{old.pid}\n"
        finally:
            new.kill()
            old.kill()


@pytest.mark.parametrize("current", ["new", "gone", ""], ids=["another", "leads nowhere", "no link"])
def test_who_is_not_wanted_ends(tmp_path: Path, current: str) -> None:
    for release in ("new", "old"):
        (tmp_path / release).mkdir()
    if current:
        (tmp_path / "current").symlink_to(current)
    settings = {"TURN": "turn", "CURRENT": "current", "RELEASE": "old"}
    environment = {f"EDGEWREN_{name}": str(tmp_path / value) for name, value in settings.items()}
    service = Service(environment | {"EDGEWREN_PATIENCE": "0.2"})
    with pytest.raises(SystemExit) as ended:
        service.ready()
    assert ended.value.code == NOT_WANTED
    service.close()
