"""Health on a clock made of numbers, and what systemd is told over a real socket."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest

from apps import watchdog
from apps.health import Health


@pytest.mark.parametrize(
    ("beats", "now", "good", "text"),
    [
        ([], 0.0, False, "starting: no frame yet"),
        ([(0.0, "live")], 1.0, True, "live"),
        ([(0.0, "live")], 10.0, True, "live"),
        ([(0.0, "live")], 11.0, False, "stuck: no result for 11 s"),
        ([(0.0, "live"), (9.0, "reopening")], 11.0, True, "waiting: the source is reopening"),
        ([(0.0, "reopening")], 11.0, False, "stuck: no result for 11 s"),
        ([(0.0, "reopening"), (2.0, "live")], 3.0, True, "live"),
    ],
)
def test_health(beats: list[tuple[float, Literal["live", "reopening"]]], now: float, good: bool, text: str) -> None:
    health = Health(limit_s=10)
    for when, source in beats:
        health.beat(when, source)
    assert health.check(now) == (good, text)


@pytest.mark.parametrize(
    ("tell", "message"),
    [(watchdog.ready, b"READY=1"), (watchdog.beat, b"WATCHDOG=1"), (watchdog.stopping, b"STOPPING=1")],
)
@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told(
    tell: Callable[[], None], message: bytes, abstract: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"edgewren-test-{tmp_path.name}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(5)
        manager.bind(f"\0{name}" if abstract else str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}" if abstract else str(tmp_path / "notify"))
        tell()
        assert manager.recv(64) == message


@pytest.mark.parametrize("address", ["", "/nowhere/notify"])
def test_nobody_listens(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    watchdog.beat()
