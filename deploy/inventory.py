"""The boards: one from ``PI=``, or those of an Ansible inventory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from convert.stopwatch.address import Address
from deploy.settings import Settings, Target, settings_from
from runtime.errors import InputError
from runtime.files import check_file

_LOCAL = ("model", "source", "port", "options")


def one_board(pi: str, values: Mapping[str, Any]) -> list[Target]:
    """The board of ``PI=user@host[:port]``.

    Raises:
        InputError: Not an address, or settings that cannot be right.
    """
    if not pi:
        raise InputError("PI is empty", "expected a board", "type make deploy PI=pi@raspberrypi.local")
    address = Address.parse(pi)
    return [Target(pi, address, settings_from(dict(values), pi))]


def fleet(inventory: Path, limit: str = "") -> list[Target]:
    """The boards of an inventory, as Ansible reads it.

    Args:
        inventory: YAML, INI or a folder; ``model``, ``source``, ``port`` and ``options`` are variables of hosts or
            groups.
        limit: Ansible's pattern of those that are meant.

    Raises:
        InputError: No inventory, no hosts in it, or settings that cannot be right.
    """
    if not inventory.is_dir():
        check_file(inventory, "an Ansible inventory", "see docs/deploy.md")
    arguments = ["-i", str(inventory), "--list", *(["--limit", limit] if limit else [])]
    done = subprocess.run(
        [tool("ansible-inventory"), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "ANSIBLE_INVENTORY_UNPARSED_FAILED": "true", "ANSIBLE_LOCALHOST_WARNING": "false"},
        check=False,
    )
    if done.returncode:
        reason = " ".join(done.stderr.split())[-300:]
        raise InputError(f"{inventory} is no inventory ({reason})", "expected one Ansible reads", "see docs/deploy.md")
    groups: dict[str, Any] = json.loads(done.stdout)
    # Those that have variables; without any, a host stands in its groups alone.
    values: dict[str, dict[str, Any]] = groups.pop("_meta")["hostvars"]
    names = sorted(values.keys() | {host for group in groups.values() for host in group.get("hosts", ())})
    if not names:
        raise InputError(f"{inventory} names no boards", "expected hosts", "see docs/deploy.md")
    return [_target(name, values.get(name, {})) for name in names]


def write_inventory(path: Path, targets: list[Target], extra: Mapping[str, Mapping[str, Any]]) -> None:
    """An inventory that is complete in itself, as JSON.

    Args:
        path: The file.
        targets: The boards, in order: the first ones are the canaries.
        extra: Further variables by the boards' names.
    """
    hosts = {}
    for target in targets:
        user, _, _ = target.address.login.rpartition("@")
        place = {"ansible_host": target.address.host, "ansible_user": user or None, "ansible_port": target.address.port}
        hosts[target.name] = {name: value for name, value in place.items() if value} | dict(extra.get(target.name, {}))
    path.write_text(json.dumps({"all": {"hosts": hosts}}, indent=1))


def tool(name: str) -> str:
    """Path of one of Ansible's programs, those of this environment first.

    Raises:
        InputError: It is not installed.
    """
    path = Path(sys.executable).with_name(name)
    if not path.exists():
        raise InputError(f"{name} is not installed", "expected ansible-core", "pip install -e '.[deploy]'")
    return str(path)


def _target(name: str, values: dict[str, Any]) -> Target:
    host = str(values.get("ansible_host", name))
    user, port = values.get("ansible_user", ""), values.get("ansible_port", "")
    text = (f"{user}@" if user else "") + (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "")
    settings: Settings = settings_from({key: values[key] for key in _LOCAL if key in values}, name)
    return Target(name, Address.parse(text), settings)
