"""Boards from Ansible's inventories."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.inventory import fleet
from runtime.errors import InputError

pytest.importorskip("ansible")

FEW_HAVE_VARIABLES = """
all:
  hosts:
    door1.local: {port: 8090}
    door2.local:
  children:
    tables:
      hosts: {table1.local: }
"""


@pytest.mark.parametrize(
    ("name", "text", "limit", "boards"),
    [
        ("a.ini", "pi1.local\npi2.local\n", "", ["pi1.local", "pi2.local"]),
        ("a.yml", FEW_HAVE_VARIABLES, "", ["door1.local", "door2.local", "table1.local"]),
        ("a.yml", FEW_HAVE_VARIABLES, "all:!door2.local", ["door1.local", "table1.local"]),
        ("a.yml", FEW_HAVE_VARIABLES, "tables", ["table1.local"]),
    ],
)
def test_hosts_without_variables_are_boards_too(
    name: str, text: str, limit: str, boards: list[str], tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)
    targets = fleet(tmp_path / name, limit)
    assert [target.name for target in targets] == boards
    assert all(target.settings.port == (8090 if target.name == "door1.local" else 8080) for target in targets)


@pytest.mark.parametrize(
    ("text", "limit", "message"),
    [
        ("pi1.local\n", "nobody", "names no boards"),
        ("", "", "is empty"),
        ("pi1.local [\n", "", "is no inventory"),
        ("pi1.local port=80\n", "", "pi1.local: port 80"),
        ("pi1.local ansible_host=-oProxyCommand=x\n", "", "is not an address"),
    ],
)
def test_what_is_no_fleet_is_one_line(text: str, limit: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "boards.ini").write_text(text)
    with pytest.raises(InputError, match=message):
        fleet(tmp_path / "boards.ini", limit)
