"""A step of the agent in a unit of its own: neither a lost connection nor a signal to the session reaches it.

On the way back there is nothing to test and nothing to carry, and the longest of it is that the release before loads.
So a line of shell asks systemd for it and the agent loads meanwhile: on a small board it takes seconds for that alone.
A note in ``AHEAD`` says so until the switch has its own; whoever finds it with nobody at work calls that release off.
"""

from __future__ import annotations

import contextlib
import subprocess

from deploy.board import services
from deploy.board.layout import (
    AGENT,
    AHEAD,
    ANSWER,
    ASKED,
    CURRENT,
    LOCK,
    PREVIOUS,
    PYTHON,
    RELEASES,
    SWITCH,
    linked_release,
)
from deploy.board.steps import BUSY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_UNIT = "edgewren-switch"


def _listings(unit: str, what: str) -> str:
    """Where the shell finds what the kernel lists of a unit."""
    return " ".join(f"{tree}/{unit}/cgroup.{what}" for tree in services.TREES)


# What a switch leaves when it was cut off: notes, and work for the agent.
_AFTER = f"[ ! -e {SWITCH} ] && [ ! -e {AHEAD} ] || exec {' '.join(PYTHON)} {AGENT} recover"
# Of the releases that the links name the one before starts, if it is whole, does not wait already, and nobody is at
# work, and the one that runs gives way to it as far as the shell can say so by itself: each program it calls takes a
# small board half a second. Otherwise all is left to the agent. systemd would take a dollar with a brace behind it for
# a variable of its own.
_AHEAD = f"""readlink {PREVIOUS} {CURRENT} | {{
IFS=/ read -r folder before; IFS=/ read -r folder now
[ -n "$now" ] && [ "$now" != "$before" ] && [ -e {RELEASES}/$before/.complete ] && [ ! -e {SWITCH} ] || exit
for listing in {_listings(services.unit("$before"), "procs")}; do
[ ! -e $listing ] || ! read -r process <$listing || exit
done
echo "$before" >{AHEAD}
for listing in {_listings(services.unit("$now"), "threads")}; do
[ ! -e $listing ] || while read -r thread; do echo 19 >/proc/$thread/autogroup; done <$listing
done
flock -n {LOCK} systemctl start --no-block {services.unit("$before")} || rm {AHEAD}
}} >/dev/null 2>&1
exec "$@"
"""
_BUSY = f'{{"changed": false, "failed": "{BUSY}"}}'
# Lines of shell: an agent that stands there goes back, and need not load (deploy/board/standing.py). Its answer is a
# line of JSON; where none comes, the shell goes on. The pipe is open before the agent is looked for: whatever becomes
# of one that was found there, systemd writes into it when it has ended.
AT_HAND = f"""if [ -p {ANSWER} ]; then
exec 3<>{ANSWER}
for listing in {_listings(services.BEHIND, "procs")}; do
[ ! -e $listing ] || while read -r process; do
words=; read -r words </proc/$process/cmdline
case $words in *{AGENT.name}behind)
set -C
echo >{ASKED} || {{ echo '{_BUSY}'; exit 1; }}
set +C
kill -USR1 $process && read -r answer <&3
break 2;;
esac
done <$listing
done
exec 3>&-
case $answer in
*'"failed"'*) echo "$answer"; exit 1;;
{{*) echo "$answer"; exit;;
esac
fi 2>/dev/null
"""


def apart(command: Sequence[str], drill: str, *more: str) -> list[str]:
    """The words that run a step of the agent as a unit of its own and wait; if it dies, systemd runs ``recover``.

    Args:
        command: Of the agent: ``["switch", release]`` or ``["rollback"]``.
        drill: A step at which it kills itself, or ``""``.
        more: Further options of ``systemd-run``.
    """
    options = ["--quiet", "--collect", "--wait", f"--unit={_UNIT}", "-p", f"ExecStopPost=/bin/sh -c '{_AFTER}'"]
    options += ["-p", "TimeoutStopSec=120", "--setenv=EDGEWREN_APART=1", *more]
    options += [f"--setenv=EDGEWREN_DRILL={drill}"] if drill else []
    program = [*PYTHON, str(AGENT), *command]
    return ["systemd-run", *options, *(ahead(program) if list(command) == ["rollback"] else program)]


def run_apart(command: Sequence[str], drill: str) -> bool:
    """Runs a step of the agent in a unit of its own; whether it ended well."""
    return subprocess.run(apart(command, drill), capture_output=True, check=False).returncode == 0


def ahead(program: Sequence[str]) -> list[str]:
    """The words that run a program, once the release before was asked to start."""
    return ["/bin/sh", "-c", _AHEAD, "sh", *program]


def call_off(wanted: str = "") -> None:
    """Forgets what was started ahead. Unless it is wanted or current it ends, and who gave way need not any more."""
    with contextlib.suppress(OSError):
        release, current = AHEAD.read_text().strip(), linked_release(CURRENT)
        AHEAD.unlink()
        if release not in (wanted, current):
            services.stop(release)
            services.give_way(current, False)
