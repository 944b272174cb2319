"""The packages of a deployment on a machine's disk, kept from one run of the tests to the next.

An emulated machine takes minutes to unpack and compile them. As long as nothing that puts them there has changed, later
runs begin with what the first one has installed, and with nothing else of a deployment.
"""

from __future__ import annotations

from pathlib import Path

from tests.arm.boards.cache import ROOT, found, kept, sources
from tests.arm.boards.disk import image
from tests.arm.boards.machine import Machine, copy_disk

_SUITE = "trixie"
_NAME = f"machine-packages-{_SUITE}"
_STORE = "/opt/edgewren/store"
_ASIDE = "/opt/kept"


def disk() -> Path | None:
    """A disk with packages that no release uses; ``None`` where nobody has kept one yet."""
    return found(_NAME, _made_by())


def put_aside(machine: Machine) -> None:
    """Links the packages of the releases where removing a deployment does not find them."""
    machine.run(f"sudo mkdir {_ASIDE} && sudo cp -al {_STORE}/packages-* {_ASIDE}")


def keep(machine: Machine) -> None:
    """Puts the packages back and keeps the disk; the machine is off afterwards."""
    machine.run(f"sudo mkdir /opt/edgewren && sudo mv {_ASIDE} {_STORE} && sync")
    machine.stop()
    kept(_NAME, _made_by(), lambda target: copy_disk(machine.folder / "disk", target))


def _made_by() -> list[Path | str]:
    return [Path(__file__), ROOT / "pyproject.toml", image(_SUITE).name, *sources("deploy")]
