"""systemd, as far as releases need it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from deploy.board.layout import AGENT, CURRENT, RELEASES, UNITS, link, linked_release, write
from deploy.board.steps import BoardError

MAIN = "edgewren.service"
_WANTED_BY = "multi-user.target.wants"
# Runs the switch: neither a lost connection nor a signal to the session reaches it, and its end is never silent.
_SWITCH_UNIT = "edgewren-switch"
_MAIN_TEXT = f"""[Unit]
Description=Edgewren: the current release, and the way back from a switch that was cut off
After=network.target local-fs.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/bin/python3 -I {AGENT} boot

[Install]
WantedBy=multi-user.target
"""


def unit(release: str) -> str:
    """Name of a release's service."""
    return f"edgewren@{release}.service"


def systemctl(*arguments: str, check: bool = True) -> str:
    """Runs systemctl; what it printed.

    Raises:
        BoardError: It said no.
    """
    done = subprocess.run(["systemctl", *arguments], capture_output=True, text=True, check=False)
    if check and done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[0]
        raise BoardError(f"systemctl {' '.join(arguments)}: {reason}")
    return done.stdout.strip()


def install_units(release: str) -> None:
    """Makes a release known to systemd, and the main service start with the board."""
    changed = _put(UNITS / MAIN, _MAIN_TEXT)
    changed |= _link(UNITS / _WANTED_BY / MAIN, f"../{MAIN}")
    changed |= _link(UNITS / unit(release), str(RELEASES / release / "edgewren.service"))
    if changed:
        systemctl("daemon-reload")


def remove_unit(release: str) -> None:
    """Forgets a release's service."""
    (UNITS / unit(release)).unlink(missing_ok=True)


def remove_units() -> None:
    """Stops everything and leaves no unit."""
    systemctl("stop", MAIN, "edgewren@*.service", check=False)
    for path in [UNITS / _WANTED_BY / MAIN, UNITS / MAIN, *UNITS.glob("edgewren@*.service")]:
        path.unlink(missing_ok=True)
    systemctl("daemon-reload", check=False)
    systemctl("reset-failed", "edgewren*", check=False)


def start(release: str, seconds: float = 120) -> None:
    """Starts a release and waits until it is loaded and waits for its turn, or shows pictures.

    Raises:
        BoardError: It ended or was not ready in time.
    """
    systemctl("reset-failed", unit(release), check=False)
    systemctl("start", "--no-block", unit(release))
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        state, restarts = show(release, "ActiveState"), show(release, "NRestarts")
        if state == "active":
            return
        # A start job that is still queued also reads "inactive".
        waiting = state == "inactive" and show(release, "Job") not in ("", "0")
        if restarts not in ("", "0") or (state in ("failed", "inactive") and not waiting):
            break
        time.sleep(0.05)
    raise BoardError(f"{unit(release)} did not start: {last_words(release)}")


def stop(release: str) -> None:
    """Stops a release, if it runs."""
    systemctl("stop", unit(release), check=False)


def show(release: str, name: str) -> str:
    """One property of a release's service."""
    return systemctl("show", "--value", "-p", name, unit(release), check=False)


def is_active(release: str) -> bool:
    """Whether a release runs."""
    return bool(release) and show(release, "ActiveState") == "active"


def last_words(release: str) -> str:
    """The last thing a release said."""
    done = subprocess.run(
        ["journalctl", "-u", unit(release), "-n", "40", "-o", "cat", "--no-pager", "_SYSTEMD_UNIT=" + unit(release)],
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error: ")]
    return (errors or lines or ["it said nothing"])[-1][:300]


def run_apart(command: Sequence[str], drill: str) -> bool:
    """Runs a step of the agent as a unit of its own and waits; if it dies, systemd runs ``recover``.

    Returns:
        Whether it ended well.
    """
    systemctl("reset-failed", _SWITCH_UNIT, check=False)
    after = f"ExecStopPost=/usr/bin/python3 -I {AGENT} recover"
    options = ["--quiet", "--collect", "--wait", f"--unit={_SWITCH_UNIT}", "-p", after, "-p", "TimeoutStopSec=120"]
    environment = [f"--setenv=EDGEWREN_DRILL={drill}"] if drill else []
    done = subprocess.run(
        ["systemd-run", *options, *environment, "/usr/bin/python3", "-I", str(AGENT), *command],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode == 0


def boot() -> None:
    """Starts the current release; called while the board starts."""
    if release := linked_release(CURRENT):
        systemctl("start", "--no-block", unit(release))


def _put(path: Path, text: str) -> bool:
    if path.exists() and path.read_text() == text:
        return False
    write(path, text.encode())
    return True


def _link(path: Path, target: str) -> bool:
    path.parent.mkdir(exist_ok=True)
    if path.is_symlink() and str(path.readlink()) == target:
        return False
    link(path, target)
    return True
