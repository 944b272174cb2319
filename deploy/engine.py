"""Runs the play and turns Ansible's results into one outcome per board."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.board.apart import AT_HAND, apart
from deploy.board.layout import AGENT, PYTHON
from deploy.board.steps import BUSY
from deploy.inventory import tool, write_inventory
from deploy.settings import Target
from deploy.ssh import ssh_arguments
from runtime.errors import RunError

_FOLDER = Path(__file__).with_name("ansible")
# What Ansible says of it, and sudo itself.
_SUDO_REFUSES = re.compile(
    r"(missing|incorrect|premature end .*) sudo password|sudo: (a password|a terminal) is required"
    r"|sudo: .*incorrect password|is not in the sudoers|may not run sudo",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Rollout:
    """How a fleet is updated.

    Attributes:
        canary: So many boards come first, alone; 0 for none.
        batch: So many at once after that, at least 1.
        max_fail: Percent (0..100) of a batch that may fail before the rest is left as it is.
    """

    canary: int = 1
    batch: int = 10
    max_fail: int = 20

    @property
    def batches(self) -> list[int]:
        """Boards at once, the last number again and again. No 0 among them: to Ansible that means all boards."""
        return [count for count in (self.canary, self.batch) if count]


@dataclass(frozen=True)
class Order:
    """What a board is told.

    Attributes:
        command: ``install``, ``verify``, ``rollback``, ``status`` or ``undeploy``.
        bundle: The agent that does it, with what it needs; nothing where the board's own does.
    """

    command: str
    bundle: Path | None = None

    def variables(self) -> dict[str, str]:
        """What the play knows of it."""
        if self.bundle:
            return {"bundle": str(self.bundle), "command": self.command}
        return {"line": line(self.command)}


@dataclass(frozen=True)
class Outcome:
    """How it went on a board.

    Attributes:
        ok: It did what it should.
        changed: Something is different now.
        fault: What went wrong, in one line; ``""`` when nothing did.
        result: What the agent printed.
        tried: Something was done there: a board after the failure limit is left alone.
        refused: sudo did not let this user in; nothing was done.
        lost: There was no connection, or no longer.
    """

    ok: bool
    changed: bool = False
    fault: str = ""
    result: Mapping[str, Any] | None = None
    tried: bool = True
    refused: bool = False
    lost: bool = False


def line(command: str) -> str:
    """A shell command, run as root, that has a board's own agent do something."""
    words, first = [*PYTHON, str(AGENT), command], ""
    if command == "rollback":
        words, first = apart([command], "", "--pipe"), AT_HAND
    nobody = json.dumps({"changed": False, "failed": "nothing is deployed there"})
    return f"[ -e {AGENT} ] || {{ echo {shlex.quote(nobody)}; exit 1; }}\n{first}exec {shlex.join(words)}"


def run_play(
    targets: list[Target],
    orders: Mapping[str, Order],
    *,
    config: Path | None = None,
    password: str = "",
    rollout: Rollout | None = None,
    drill: str = "",
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Outcome]:
    """Carries bundles to boards and runs a command of the agent in each.

    Args:
        targets: The boards.
        orders: By the boards' names.
        config: ssh's configuration.
        password: For sudo; empty where it asks for none.
        rollout: Of a fleet; all at once by default.
        drill: A step at which the agent kills itself (``deploy.board.steps``).
        say: Takes a line about what is going on.

    Returns:
        Outcomes by the boards' names.

    Raises:
        RunError: Ansible itself failed.
    """
    with tempfile.TemporaryDirectory(prefix="edgewren-play-") as temporary:
        folder = Path(temporary)
        vars_of = {target.name: orders[target.name].variables() for target in targets}
        write_inventory(folder / "inventory.json", targets, vars_of)
        variables: dict[str, Any] = {"batches": rollout.batches if rollout else ["100%"], "drill": drill}
        variables["max_fail"] = rollout.max_fail if rollout else 100
        if password:
            variables["ansible_become_password"] = password
        secret = folder / "variables.json"
        secret.touch(0o600)
        secret.write_text(json.dumps(variables))
        arguments = ["-i", str(folder / "inventory.json"), "-e", f"@{secret}", str(_FOLDER / "play.yml")]
        return _run([tool("ansible-playbook"), *arguments], _environment(folder, config), targets, say)


def _environment(folder: Path, config: Path | None) -> dict[str, str]:
    """Ansible's settings; a user's own ansible.cfg does not reach this play."""
    empty = folder / "ansible.cfg"
    empty.write_text("[defaults]\n")
    return {
        **os.environ,
        "ANSIBLE_CONFIG": str(empty),
        "ANSIBLE_HOME": str(folder / "home"),
        "ANSIBLE_CALLBACK_PLUGINS": str(_FOLDER / "callback_plugins"),
        "ANSIBLE_STDOUT_CALLBACK": "edgewren_events",
        "ANSIBLE_PIPELINING": "true",
        # All goes over the connection that is open already, and no terminal is wanted.
        "ANSIBLE_SSH_ARGS": "",
        "ANSIBLE_SSH_USETTY": "false",
        # The agent removes it, or after undeploying the play.
        "ANSIBLE_REMOTE_TEMP": "~/.edgewren-ansible",
        "ANSIBLE_FORKS": "16",
        "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3",
        "ANSIBLE_SSH_COMMON_ARGS": shlex.join(ssh_arguments(config)),
        # The agent of a lost connection works on; a second one would only meet it.
        "ANSIBLE_SSH_RETRIES": "0",
        "ANSIBLE_HOST_KEY_CHECKING": "true",
        "ANSIBLE_DEPRECATION_WARNINGS": "false",
        "ANSIBLE_NOCOLOR": "true",
        "ANSIBLE_RETRY_FILES_ENABLED": "false",
        "LC_ALL": "C.UTF-8",
    }


def _run(
    command: list[str], environment: dict[str, str], targets: list[Target], say: Callable[[str], None]
) -> dict[str, Outcome]:
    outcomes: dict[str, Outcome] = {}
    noise: list[str] = []
    begun: set[str] = set()
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout
        for line in process.stdout:
            try:
                event = json.loads(line)
                host, task = event["host"], event["task"]
            except (ValueError, TypeError, KeyError):
                noise.append(line.strip())
                continue
            if event.get("begins"):
                if host not in begun:
                    begun.add(host)
                    say(f"{host}: begins")
            elif task == "agent" or not event["ok"]:
                outcomes[host] = _outcome(event)
                say(f"{host}: {outcomes[host].fault or 'done'}")
    if process.returncode and not outcomes:
        reason = " ".join(part for part in noise if part)[-400:]
        raise RunError(f"ansible-playbook failed ({reason or process.returncode})", "", "check its installation")
    untried = Outcome(False, False, "left alone: too many others failed", None, False)
    return {target.name: outcomes.get(target.name, untried) for target in targets}


def _outcome(event: dict[str, Any]) -> Outcome:
    said = event["result"]
    try:
        result = json.loads(said.get("stdout", ""))
    except ValueError:
        result = {}
    if event["ok"]:
        return Outcome(True, event["changed"], "", result)
    if event.get("unreachable"):
        return Outcome(False, False, f"connection lost: {_short(said.get('msg', ''))}", lost=True)
    if "was already loaded" in said.get("stderr", ""):
        return Outcome(False, False, BUSY)
    if "failed" in result:
        return Outcome(False, False, str(result["failed"]), result)
    if _SUDO_REFUSES.search(f"{said.get('msg', '')} {said.get('stderr', '')}"):
        return Outcome(False, False, "sudo does not let this user in", None, False, True)
    steps = [line for line in said.get("stderr", "").splitlines() if line.startswith("step ")]
    if said.get("rc", 0) < 0 and steps:
        return Outcome(False, False, f"the agent was killed after {steps[-1]}")
    return Outcome(False, False, _short(said.get("stderr", "") or said.get("msg", "") or "no message"))


def _short(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no message"
