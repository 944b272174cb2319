"""Light boards: this Debian once more, in a container with its own systemd, sshd, users and network.

The files are an overlay over this machine's root, so a board costs nothing but what is written on it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from tests.processes import descendants, read_process
from tests.waiting import until

_UNITS = {
    "board-net.service": "[Unit]\nBefore=ssh.service\n[Service]\nType=oneshot\nRemainAfterExit=yes\n"
    "ExecStart=/usr/sbin/ip link set lo up\n"
    "ExecStart=/usr/sbin/ip addr add 10.{net}.2/30 dev host0\nExecStart=/usr/sbin/ip link set host0 up\n",
    "board-ssh.service": "[Unit]\nAfter=board-net.service\n[Service]\nRuntimeDirectory=sshd\n"
    "ExecStart=/usr/sbin/sshd -D -f /etc/board-sshd -E /var/log/sshd.log\nRestart=always\n",
}
# Not what a board needs, or what would write on it while a test looks.
_OFF = ("ssh.service", "postgresql.service", "e2scrub_reap.service", "console-getty.service", "timers.target")
_LOGS = ("var/log", "var/lib/systemd", "var/cache")
_SSHD = (
    "Port 22\nHostKey /etc/board-hostkey\nPidFile none\nUsePAM no\nPasswordAuthentication no\nStrictModes no\n"
    "PermitRootLogin no\nAuthorizedKeysFile /etc/board-authorized\nSubsystem sftp internal-sftp\nMaxStartups 100\n"
)


def why_not() -> str:
    """Why this machine can have no such boards, ``""`` where it can."""
    if os.getuid() != 0:
        return "needs root for boards in containers"
    for program, package in {"systemd-nspawn": "systemd-container", "ssh": "openssh-client", "sudo": "sudo"}.items():
        if not shutil.which(program):
            return f"{program} is missing (apt install {package})"
    if not Path("/usr/sbin/sshd").exists():
        return "no sshd (apt install openssh-server)"
    if not Path("/usr/bin/python3").exists():
        return "no Debian Python (apt install python3)"
    if "overlay" not in Path("/proc/filesystems").read_text():
        return "this kernel has no overlay file system"
    return ""


class LightBoard:
    """One board, off until :meth:`start`.

    Args:
        folder: An empty one, for everything it writes.
        number: 0..250, unique among the boards that run: its network.
        lower: Folders of a board whose files it begins with (:meth:`freeze`).
        secrets: Folder with the user's key and the host's; made when missing.

    Attributes:
        address: ``pi@10.x.y.2``.
        config: ssh's configuration to reach it.
        root: Its files, seen from here.
    """

    def __init__(self, folder: Path, number: int, secrets: Path, lower: tuple[Path, ...] = ()) -> None:
        self.folder, self.number, self.secrets, self._lower = folder, number, secrets, lower
        self._net = f"{77 + os.getpid() % 100}.{number}"
        self.host = f"10.{self._net}.2"
        self.address = f"pi@{self.host}"
        self.name = f"eb{os.getpid() % 10000}x{number}"
        self.root, self.upper = folder / "root", folder / "upper"
        self.config = folder / "ssh_config"
        self._process: subprocess.Popen[bytes] | None = None
        for each in (self.root, self.upper, folder / "work"):
            each.mkdir(parents=True)
        self._prepare()

    def start(self) -> LightBoard:
        """Switches it on and waits for ssh."""
        self.mount()
        with (self.folder / "boot.log").open("ab") as log:
            self._process = self._boot(log)

        self._plug_in()
        return self

    def reboot(self) -> None:
        """Asks it to start anew and waits for ssh."""
        before = self.leader
        self.inside("systemctl reboot")
        until(lambda: self.leader not in (before, 0), "no second start", 30)
        self._plug_in()

    @property
    def leader(self) -> int:
        """Its first process, as seen from here; 0 where there is none."""
        return next(iter(descendants(self._process.pid)), 0) if self._process else 0

    def inside(self, command: str) -> str:
        """Runs a shell command as root without a login, which would leave traces; what it printed."""
        enter = ["nsenter", "-t", str(self.leader), "-m", "-u", "-i", "-n", "-p", "--", "sh", "-c", command]
        done = subprocess.run(enter, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120, check=False)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def processes(self, word: str = "") -> list[int]:
        """Its processes, as seen from here: those with a word in their command line."""
        return [pid for pid in descendants(self.leader) if word.encode() in read_process(pid, "cmdline")]

    def seen(self, path: str) -> Path:
        """A path of the running board, its folders in memory included."""
        return Path(f"/proc/{self.leader}/root/{path}")

    def lose_connections(self) -> None:
        """Ends the board's side of all logins, as when the cable is pulled."""
        self.inside("pkill -9 -f '^sshd: pi' || true")

    def written(self, *, times: bool = True) -> dict[str, str]:
        """All that was ever written on its disk, logs apart, and what lies in ``/tmp`` and ``/dev/shm``.

        Args:
            times: Dates belong to it; then a file that was there for a moment shows, too.
        """
        found = {name: _describe(self.upper / name, times) for name in _walk(self.upper)}
        return found | {f"in memory: {name}": "" for name in self.inside("find /tmp /dev/shm").splitlines()}

    def differences(self, before: dict[str, str], *, times: bool = True) -> list[str]:
        """What is different from an earlier :meth:`written`; a copy of what lies below is no difference."""
        now = self.written(times=times)
        names = sorted(name for name in now | before if now.get(name) != before.get(name))
        return [name for name in names if name in before or now[name] != _describe(Path("/", name), times)]

    def _plug_in(self) -> None:
        link = f"ve-{self.name}"
        until(Path(f"/sys/class/net/{link}").exists, "no network", 30)
        subprocess.run(["ip", "addr", "replace", f"10.{self._net}.1/30", "dev", link], check=True)
        subprocess.run(["ip", "link", "set", link, "up"], check=True)
        until(lambda: self.ssh("true").returncode == 0, f"no ssh; see {self.folder}/boot.log", 30)

    def _boot(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        command = ["systemd-nspawn", "-q", "--register=no", "--keep-unit", "--boot", "-D", str(self.root)]
        command += ["--network-veth", f"--machine={self.name}", "--resolv-conf=off", "--timezone=off"]
        command += ["--link-journal=no", "systemd.unit=multi-user.target"]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def ssh(self, command: str, user: str = "pi") -> subprocess.CompletedProcess[str]:
        """Runs a shell command as the user."""
        return subprocess.run(
            ["ssh", "-F", str(self.config), f"{user}@{self.host}", command],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=120,
            check=False,
        )

    def power_cut(self) -> None:
        """Ends everything on it at once."""
        if self._process:
            for pid in descendants(self._process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._process.kill()
            self._process.wait()
            self._process = None
        # The cable goes only with the last process behind it, which may take a moment.
        subprocess.run(["ip", "link", "del", f"ve-{self.name}"], capture_output=True, check=False)
        subprocess.run(["umount", "-R", "-l", str(self.root)], capture_output=True, check=False)

    def freeze(self) -> tuple[Path, ...]:
        """Switches it off; its files are what others may begin with."""
        self.power_cut()
        return (self.upper, *self._lower)

    def mount(self) -> None:
        """Makes its files visible at ``root``."""
        lower = ":".join(map(str, (*self._lower, "/")))
        options = f"lowerdir={lower},upperdir={self.upper},workdir={self.folder / 'work'}"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(self.root)], check=True)

    def _prepare(self) -> None:
        key, host = self.secrets / "user", self.secrets / "host"
        for path in (key, host):
            if not path.exists():
                subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
        known = self.folder / "known_hosts"
        known.write_text(f"{self.host} {host.with_suffix('.pub').read_text()}")
        self.config.write_text(
            f"IdentityFile {key}\nIdentitiesOnly yes\nIdentityAgent none\nUserKnownHostsFile {known}\n"
            "GlobalKnownHostsFile /dev/null\nConnectTimeout 5\n"
        )
        etc = self.upper / "etc"
        wants = etc / "systemd/system/multi-user.target.wants"
        wants.mkdir(parents=True, exist_ok=True)
        for name, text in _UNITS.items():
            (etc / "systemd/system" / name).write_text(text.replace("{net}", self._net))
            (wants / name).unlink(missing_ok=True)
            (wants / name).symlink_to(f"../{name}")
        for name in _OFF:
            path = etc / "systemd/system" / name
            path.unlink(missing_ok=True)
            path.symlink_to("/dev/null")
        (etc / "board-sshd").write_text(_SSHD)
        shutil.copy(host, etc / "board-hostkey")
        (etc / "board-hostkey").chmod(0o600)
        shutil.copy(key.with_suffix(".pub"), etc / "board-authorized")
        if not self._lower:
            for name, line in {
                "passwd": "pi:x:1000:1000::/home/pi:/bin/bash",
                "group": "pi:x:1000:",
                "shadow": "pi:*:19000:0:99999:7:::",
            }.items():
                text = "".join(old + "\n" for old in Path("/etc", name).read_text().splitlines() if ":1000:" not in old)
                (etc / name).write_text(f"{text}{line}\n")
            (self.upper / "home/pi").mkdir(parents=True)
            os.chown(self.upper / "home/pi", 1000, 1000)
            (etc / "sudoers.d").mkdir()
            (etc / "sudoers.d/pi").write_text("pi ALL=(ALL) NOPASSWD: ALL\n")
            (etc / "sudoers.d/pi").chmod(0o440)
            # This machine's own work is none of the board's business.
            for hidden in ("work", "tmp", "root", "opt"):
                (self.upper / hidden).mkdir(exist_ok=True)
                os.setxattr(self.upper / hidden, "trusted.overlay.opaque", b"y")
            (self.upper / "tmp").chmod(0o1777)


@contextlib.contextmanager
def running(board: LightBoard) -> Iterator[LightBoard]:
    """A board that is on for a while."""
    try:
        yield board.start()
    finally:
        board.power_cut()


def _walk(folder: Path) -> Iterator[str]:
    for place, folders, files in os.walk(folder):
        inside = Path(place).relative_to(folder)
        folders[:] = [name for name in folders if str(inside / name) not in _LOGS]
        yield from (str(inside / name) for name in (*folders, *files))


def _describe(path: Path, times: bool) -> str:
    """Kind, owner and content of a file; ``""`` where there is none."""
    try:
        found = path.lstat()
    except OSError:
        return ""
    content = ""
    if stat.S_ISLNK(found.st_mode):
        content = os.readlink(path)
    elif stat.S_ISREG(found.st_mode):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
    elif stat.S_ISCHR(found.st_mode) and found.st_rdev == 0:
        return ""  # the overlay's mark of a removed file
    when = f" {found.st_mtime_ns}" if times else ""
    return f"{found.st_mode:o} {found.st_uid}:{found.st_gid} {content}{when}"
