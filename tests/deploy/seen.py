"""What can be seen of the releases on a board from outside, without a login."""

from __future__ import annotations

import os
from pathlib import Path

from deploy.board.layout import ANSWER
from tests.deploy.boards import LightBoard


def current(board: LightBoard) -> str:
    """Id of the release that is current."""
    return Path(os.readlink(board.root / "opt/edgewren/current")).name


def previous(board: LightBoard) -> str:
    """Id of the release that ran before."""
    return Path(os.readlink(board.root / "opt/edgewren/previous")).name


def active(board: LightBoard) -> list[str]:
    """Ids of the releases whose services run, but for one that waits behind them."""
    listed = board.inside("systemctl list-units --plain --no-legend --state=active 'edgewren@*'")
    found = [line.split()[0].removeprefix("edgewren@").removesuffix(".service") for line in listed.splitlines()]
    return [release for release in found if release not in waiting(board)]


def waiting(board: LightBoard) -> list[str]:
    """Id of the release before, where it is loaded and has neither camera nor port."""
    try:
        before = previous(board)
    except FileNotFoundError:
        return []
    number = main_process(board, before)
    has_turn = (board.root / "var/lib/edgewren/turn").read_text().strip() == number
    return [before] if number != "0" and before != current(board) and not has_turn else []


def main_process(board: LightBoard, release: str) -> str:
    """Number of a release's process, "0" where it does not run."""
    return board.inside(f"systemctl show -p MainPID --value edgewren@{release}.service").strip()


def is_settled(board: LightBoard) -> bool:
    """Nobody is at work, but for who stands by to be asked to go back, and no switch is open."""
    at_work = set(board.processes(".pyz")) - set(board.processes(".pyz\0behind"))
    return not at_work and not (board.root / "opt/edgewren/switch.json").exists()


def stands(board: LightBoard) -> bool:
    """Whether an agent stands by since the last switch: it makes its pipe when it may be asked."""
    pipe = board.seen(str(ANSWER))
    return pipe.exists() and pipe.stat().st_mtime > (board.root / "opt/edgewren/last.json").stat().st_mtime
