"""``python3 agent.pyz COMMAND``: one JSON object on stdout, steps on stderr.

Each command loads what it needs and no more: on a small board loading takes longer than most commands.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from importlib import import_module
from pathlib import Path

from deploy.board.steps import attempt

# Commands by the module that has them.
_MODULES = {
    "install": "installing",
    "verify": "installing",
    "rollback": "operating",
    "status": "operating",
    "undeploy": "operating",
    "behind": "standing",
    "boot": "switching",
    "switch": "switching",
    "recover": "switching",
}


def main() -> int:
    """Runs one command; status 1 when it failed."""
    os.umask(0o022)
    name = sys.argv[1]
    result = attempt(getattr(import_module(f"deploy.board.{_MODULES[name]}"), name), *sys.argv[2:])
    if ".edgewren-ansible" in sys.path[0]:
        from deploy.board.carried import sweep

        sweep(Path(sys.path[0]))
    # Whoever asked may be gone. What was done is done.
    with contextlib.suppress(OSError):
        print(json.dumps(result), flush=True)
    return 1 if "failed" in result else 0
