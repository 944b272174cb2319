"""systemd, as far as releases need it."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path

from deploy.board.layout import AGENT, ANSWER, CURRENT, PYTHON, RELEASES, SWITCH, UNITS, link, linked_release, write
from deploy.board.steps import BoardError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

MAIN = "edgewren.service"
BEHIND = "edgewren-behind.service"
_WANTED_BY = "multi-user.target.wants"
_LOOK_EVERY_S = 1.0
_ASK_EVERY = 10  # looks
_HURRIED = -10
# Folders of control groups, a pattern: newer kernels have one tree, older ones one for systemd.
TREES = ("/sys/fs/cgroup/system.slice/*", "/sys/fs/cgroup/systemd/system.slice/*")
_MAIN_TEXT = f"""[Unit]
Description=Edgewren: the current release, and the way back from a switch that was cut off
After=network.target local-fs.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={" ".join(PYTHON)} {AGENT} boot

[Install]
WantedBy=multi-user.target
"""
# Whoever waits for an answer gets an empty one at last.
_BEHIND_TEXT = f"""[Unit]
Description=Edgewren: the release before waits, loaded, in case it is wanted back

[Service]
ExecStart={" ".join(PYTHON)} {AGENT} behind
ExecStopPost=/bin/sh -c '[ ! -e {SWITCH} ] || {" ".join(PYTHON)} {AGENT} recover; [ ! -p {ANSWER} ] || echo 1<>{ANSWER}'
TimeoutStopSec=120
Nice=19
Slice=system-edgewren.slice
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
    there = (UNITS / MAIN).exists()
    changed = any([_put(UNITS / MAIN, _MAIN_TEXT), _put(UNITS / BEHIND, _BEHIND_TEXT)])
    _link(UNITS / _WANTED_BY / MAIN, f"../{MAIN}")
    _link(UNITS / unit(release), str(RELEASES / release / "edgewren.service"))
    # systemd finds new units by itself, and takes long to look at all of them again.
    if (there and changed) or show(release, "NeedDaemonReload", "LoadState") != ["no", "loaded"]:
        systemctl("daemon-reload")


def remove_unit(release: str) -> None:
    """Forgets a release's service."""
    (UNITS / unit(release)).unlink(missing_ok=True)


def forget_gone() -> None:
    """Forgets the services of releases that are no more."""
    for path in UNITS.glob("edgewren@*.service"):
        if not path.exists():
            path.unlink()


def remove_units() -> None:
    """Stops everything and leaves no unit."""
    systemctl("stop", BEHIND, MAIN, "edgewren@*.service", "system-edgewren.slice", check=False)
    for folder in (UNITS, UNITS / _WANTED_BY):
        # Those that a power cut left half-written have a dot before and .part behind.
        parts = [path for pattern in ("edgewren@*.service", ".edgewren*.part") for path in folder.glob(pattern)]
        for path in (folder / MAIN, folder / BEHIND, *parts):
            path.unlink(missing_ok=True)
    systemctl("daemon-reload", check=False)
    systemctl("reset-failed", "edgewren*", check=False)


def start(release: str, seconds: float = 120) -> None:
    """Starts a release and waits until it is loaded and waits for its turn, or shows pictures.

    Raises:
        BoardError: It ended or was not ready in time.
    """
    command = ["systemctl", "start", unit(release)]
    first: set[str] = set()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as starting:
        for look in range(1, int(seconds / _LOOK_EVERY_S) + 1):
            try:
                if starting.wait(_LOOK_EVERY_S) == 0:
                    return
                break
            except subprocess.TimeoutExpired:
                now = processes(release)
                first = first or now
                # Some versions of systemd wait on while a service fails and is started again. Asking takes a small
                # board a good part of the time that the release needs to load.
                if (not first & now or look % _ASK_EVERY == 0) and show(release, "NRestarts") not in (["0"], [""]):
                    break
        starting.kill()
    raise BoardError(f"{unit(release)} did not start: {last_words(release)}")


def give_way(release: str, yes: bool = True) -> None:
    """Lets a release have what others leave of the processor: one that is to end, while the next one loads."""
    nice = 19 if yes else 0
    for thread in _members(release, "cgroup.threads"):
        _renice(int(thread), nice)


def hurry() -> None:
    """Puts this process and those it starts before what runs: somebody waits for it, and it is soon over."""
    _renice(os.getpid(), _HURRIED)


def _renice(thread: int, nice: int) -> None:
    """As far as it is there, and a container allows it."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, thread, nice)
    # Where the kernel weighs services and not threads.
    with contextlib.suppress(OSError):
        Path(f"/proc/{thread}/autogroup").write_text(str(nice))


def processes(release: str) -> set[str]:
    """Numbers of a release's processes; none as well where the kernel's listing is not found."""
    return _members(release, "cgroup.procs")


def running() -> set[str]:
    """Ids of the releases that have processes, waiting ones among them."""
    names = {name for name, text in _listings(unit("*"), "cgroup.procs") if text.strip()}
    return {name.removeprefix("edgewren@").removesuffix(".service") for name in names}


def stands() -> bool:
    """Whether an agent waits to be asked to go back, or is about to."""
    return any(text.strip() for _, text in _listings(BEHIND, "cgroup.procs"))


def _members(release: str, listing: str) -> set[str]:
    return {number for _, text in _listings(unit(release), listing) for number in text.split()}


def _listings(name: str, listing: str) -> Iterator[tuple[str, str]]:
    """Units of a name, which may be a pattern, and what the kernel lists of each."""
    for tree in TREES:
        for path in Path("/").glob(f"{tree[1:]}/{name}/{listing}"):
            with contextlib.suppress(OSError):
                yield path.parent.name, path.read_text()


def stop(release: str, wait: bool = True) -> None:
    """Stops a release, if it runs, or only asks systemd to."""
    systemctl("stop", *(() if wait else ("--no-block",)), unit(release), check=False)


def show(release: str, *names: str) -> list[str]:
    """Properties of a release's service, as many as were asked for."""
    options = [part for name in names for part in ("-p", name)]
    rows = systemctl("show", *options, unit(release), check=False).splitlines()
    found = dict(row.partition("=")[::2] for row in rows)
    return [found.get(name, "") for name in names]


def is_active(release: str) -> bool:
    """Whether a release runs."""
    return bool(release) and show(release, "ActiveState") == ["active"]


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
