"""When the release before may wait behind the one that runs, beside stand-ins for systemd and the kernel."""

from __future__ import annotations

import json
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


@pytest.mark.parametrize(
    "case", ["it waits already", "no memory", "none before", "the same", "it does not know how to wait"]
)
def test_it_does_not_where_that_is_of_no_use(board: Board, case: str) -> None:
    match case:
        case "it waits already":
            board.running.add("old")
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


def test_the_next_release_ends_what_waits_and_nothing_else(board: Board) -> None:
    behind.dismiss()
    assert board.asked == []
    board.running |= {"old", "older"}
    behind.dismiss()
    board.stands = True
    behind.dismiss()
    waiting = services.unit("old"), services.unit("older")
    assert board.asked == [("stop", *waiting), ("stop", *waiting, services.BEHIND)]
