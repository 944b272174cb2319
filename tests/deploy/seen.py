"""What can be seen of the releases on a board from outside, without a login."""

from __future__ import annotations

import os
from pathlib import Path

from tests.deploy.boards import LightBoard


def current(board: LightBoard) -> str:
    """Id of the release that is current."""
    return Path(os.readlink(board.root / "opt/edgewren/current")).name


def previous(board: LightBoard) -> str:
    """Id of the release that ran before."""
    return Path(os.readlink(board.root / "opt/edgewren/previous")).name


def active(board: LightBoard) -> list[str]:
    """Ids of the releases whose services run."""
    listed = board.inside("systemctl list-units --plain --no-legend --state=active 'edgewren@*'")
    return [line.split()[0].removeprefix("edgewren@").removesuffix(".service") for line in listed.splitlines()]


def is_settled(board: LightBoard) -> bool:
    """Nobody is at work and no switch is open."""
    return not board.processes(".pyz") and not (board.root / "opt/edgewren/switch.json").exists()
