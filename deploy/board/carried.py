"""The file that carried the agent to a board, and how it goes again."""

from __future__ import annotations

import contextlib
import shutil
import time
from pathlib import Path

_STALE_S = 3600
# Where Ansible puts what it carries (deploy.engine).
FOLDER = ".edgewren-ansible"


def sweep(bundle: Path) -> None:
    """Removes the file that carried this program here, those of runs that were killed, and Ansible's folder."""
    folder = bundle.parent.parent
    if folder.name != FOLDER:
        return
    old = time.time() - _STALE_S
    for carried in folder.glob("ansible-tmp-*"):
        # Another deployment may be on its way here.
        with contextlib.suppress(OSError):
            if carried == bundle.parent or carried.stat().st_mtime < old:
                shutil.rmtree(carried, ignore_errors=True)
    with contextlib.suppress(OSError):
        folder.rmdir()
