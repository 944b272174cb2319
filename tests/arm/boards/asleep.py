"""A machine that is put to sleep as it runs and woken by a later run of the tests: memory, disk and keys.

What a machine does while it starts and is installed takes an emulator minutes and is the same each time, as long as
nothing that decides it has changed.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.arm.boards.cache import found, kept, version
from tests.arm.boards.machine import CONTROL, EMULATOR, MEMORY, Machine, copy_disk
from tests.waiting import until

_KEYS = ("key", "key.pub", "host-key", "host-key.pub")
_HERE = Path(__file__)
# The memory of a machine fits another one of the same make only.
_MADE_BY: tuple[Path, ...] = (_HERE, _HERE.with_name("machine.py"), _HERE.with_name("board.py"))


class Asleep:
    """A machine in the cache, or the place for one.

    Args:
        name: What it is.
        made_by: The files and values that decide what is on it and what it does.
    """

    def __init__(self, name: str, made_by: Sequence[Path | str]) -> None:
        self._name = name
        self._made_by = [*_MADE_BY, version(EMULATOR), str(os.cpu_count()), *made_by]

    def there(self) -> bool:
        """Whether :meth:`keep` has kept it."""
        return found(self._name, self._made_by) is not None

    def keep(self, machine: Machine) -> None:
        """Keeps a running machine, which stands still for a moment and goes on."""
        kept(self._name, self._made_by, lambda target: _save(machine, target))

    def wake(self, folder: Path) -> Machine:
        """The machine, to be started: it goes on where it was kept, and knows what time it is.

        Raises:
            FileNotFoundError: Nobody has kept it.
        """
        source = found(self._name, self._made_by)
        if source is None:
            raise FileNotFoundError(f"no machine {self._name} was kept")
        folder.mkdir(parents=True, exist_ok=True)
        for name in _KEYS:
            shutil.copy(source / name, folder / name)
        (folder / MEMORY).symlink_to(source / MEMORY)
        copy_disk(source / "disk", folder / "disk")
        return Machine(folder)


def _save(machine: Machine, target: Path) -> None:
    target.mkdir()
    with Control(machine.folder / CONTROL) as control:
        try:
            # No network has to keep up with it; it stands still when all is written.
            control.ask("migrate-set-parameters", {"max-bandwidth": 1 << 40})
            control.ask("migrate", {"uri": f"exec:cat > {shlex.quote(str(target / MEMORY))}"})
            until(lambda: _is_written(control), "the memory is not written", 120, 0.2)
            copy_disk(machine.folder / "disk", target / "disk")
            for name in _KEYS:
                shutil.copy(machine.folder / name, target / name)
        finally:
            control.ask("cont")


def _is_written(control: Control) -> bool:
    state = control.ask("query-migrate")
    if state["status"] in {"failed", "cancelled"}:
        raise RuntimeError(f"the memory cannot be written: {state}")
    return bool(state["status"] == "completed")


class Control:
    """QEMU's machine protocol, https://www.qemu.org/docs/master/interop/qmp-spec.html."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(60)
        self._socket.connect(str(path))
        self._lines = self._socket.makefile("r")
        self._lines.readline()
        self.ask("qmp_capabilities")

    def ask(self, command: str, arguments: dict[str, Any] | None = None) -> dict[str, Any]:
        """Has QEMU do something; its answer."""
        self._socket.sendall(json.dumps({"execute": command, "arguments": arguments or {}}).encode())
        for line in self._lines:
            said = json.loads(line)
            if "error" in said:
                raise RuntimeError(f"{command}: {said['error']}")
            if "return" in said:
                return dict(said["return"])
        raise RuntimeError(f"{command}: no answer")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lines.close()
        self._socket.close()
