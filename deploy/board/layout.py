"""Where things are on a board.

::

    /opt/edgewren/agent.pyz                 this package
    /opt/edgewren/store/packages-<hash>/    the packages of others, an environment of their own
    /opt/edgewren/store/code-<hash>/        runtime and apps: an environment that looks into the one above
    /opt/edgewren/store/model-<hash>/       one model file, under the name it first came with
    /opt/edgewren/releases/<id>/            .venv and model (links into the store), release.json, the unit
    /opt/edgewren/current                   link to the release that runs
    /opt/edgewren/switch.json               there while a switch is under way
    /var/lib/edgewren/                      the service's own folder, and the page's token
    /etc/systemd/system/edgewren.service    starts the current release when the board does
    /etc/systemd/system/edgewren@<id>.service   link to the unit of a release

A folder of the store or of the releases is complete when it holds ``.complete``; others are removed by the next run.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

ROOT = Path("/opt/edgewren")
STATE = Path("/var/lib/edgewren")
UNITS = Path("/etc/systemd/system")
AGENT, STORE, RELEASES = ROOT / "agent.pyz", ROOT / "store", ROOT / "releases"
CURRENT, PREVIOUS, SWITCH, LAST = ROOT / "current", ROOT / "previous", ROOT / "switch.json", ROOT / "last.json"
LOCK = Path("/run/edgewren.lock")
# The release that was asked to start before the agent ran (deploy/board/apart.py).
AHEAD = Path("/run/edgewren.ahead")
# A pipe that tells how a rollback went, and a note that one was asked for (deploy/board/standing.py).
ANSWER, ASKED = Path("/run/edgewren.answer"), Path("/run/edgewren.asked")
TOKEN = STATE / "token"
# Whose turn it is to have camera and port: the number of its process (apps/service.py).
TURN = STATE / "turn"
# A release with these words in its unit gives its turn up on that signal and waits.
STEPS_BACK = "EDGEWREN_STEP_BACK=SIGUSR1"
USER = "edgewren"
# So long a release waits that was current before, and an agent with it.
PATIENCE_S = 900
# How the agent is run; it needs nothing of what the board's Python has installed.
PYTHON = ("/usr/bin/python3", "-I", "-S")
KEPT = 3
_COMPLETE = ".complete"


def is_complete(folder: Path) -> bool:
    """Whether a folder of the store or the releases was finished."""
    return (folder / _COMPLETE).exists()


@contextlib.contextmanager
def building(folder: Path) -> Iterator[Path]:
    """A new folder that counts only when the block ended well and everything is on the disk."""
    import shutil

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    yield folder
    # The mark vouches for everything else.
    os.sync()
    write(folder / _COMPLETE, b"")


def discard(folder: Path) -> None:
    """Removes a folder of the store or of the releases; one that is half gone after a power cut does not count."""
    import shutil

    if is_complete(folder):
        remove(folder / _COMPLETE)
    shutil.rmtree(folder, ignore_errors=True)


def write(path: Path, data: bytes, mode: int = 0o644, owner: tuple[int, int] | None = None) -> None:
    """Writes a file that is whole or not there, also after a power cut.

    Args:
        path: It; its folder exists.
        data: What is in it.
        mode: Who may do what with it.
        owner: User and group, from the start; by default those of this process.
    """
    beside = path.with_name(f".{path.name}.part")
    beside.unlink(missing_ok=True)
    with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as stream:
        if owner:
            os.fchown(stream.fileno(), *owner)
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    beside.replace(path)
    sync_folder(path.parent)


def link(path: Path, target: str) -> None:
    """Points a symbolic link somewhere, in one step."""
    beside = path.with_name(f".{path.name}.part")
    beside.unlink(missing_ok=True)
    beside.symlink_to(target)
    beside.replace(path)
    sync_folder(path.parent)


def remove(path: Path) -> None:
    """Removes a file or link, if it is there, for good."""
    path.unlink(missing_ok=True)
    sync_folder(path.parent)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file, ``{}`` where there is none."""
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(path.read_text())
        if isinstance(found, dict):
            return found
    return {}


def write_json(path: Path, data: dict[str, Any]) -> None:
    """A JSON file, whole or not there."""
    write(path, json.dumps(data, indent=1).encode())


def linked_release(path: Path) -> str:
    """Id of the release a link points to, ``""`` where there is none."""
    with contextlib.suppress(OSError):
        name = os.readlink(path).rpartition("/")[2]
        if is_complete(RELEASES / name):
            return name
    return ""


def description(release: str) -> dict[str, Any]:
    """A release's manifest, ``{}`` where there is none."""
    return read_json(RELEASES / release / "release.json") if release else {}


def whose_turn() -> str:
    """Number of the process that took camera and port last, ``""`` where none did."""
    try:
        return TURN.read_text().strip()
    except OSError:
        return ""


def releases() -> list[str]:
    """Ids of the complete releases, the newest last."""
    found = [folder for folder in RELEASES.glob("[!.]*") if is_complete(folder)]
    return [folder.name for folder in sorted(found, key=lambda folder: (folder / _COMPLETE).stat().st_mtime)]


def sync_folder(folder: Path) -> None:
    """Brings a folder's names to the disk."""
    with contextlib.suppress(FileNotFoundError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
