"""A Debian user-land of another processor, as Raspberry Pi OS would have it: sshd, sudo, systemd, Python, user pi."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.arm.boards import debian
from tests.arm.boards.cache import kept

# The Python of each release.
SUITES = {"bookworm": "3.11", "trixie": "3.13"}
_PACKAGES = (
    "base-files base-passwd bash ca-certificates coreutils dash dbus findutils gawk grep gzip hostname iproute2 kmod "
    "libc-bin libc6 libgcc-s1 libpam-modules libstdc++6 login mount openssh-server openssh-sftp-server passwd procps "
    "python3 python3-venv rsync sed sudo systemd systemd-sysv tar udev util-linux "
)
_USERS = """\
sshd:x:105:65534::/run/sshd:/usr/sbin/nologin
messagebus:x:997:997::/:/usr/sbin/nologin
systemd-network:x:998:998::/:/usr/sbin/nologin
pi:x:1000:1000::/home/pi:/bin/bash
"""
_GROUPS = "messagebus:x:997:\nsystemd-network:x:998:\npi:x:1000:\n"
# Keys are the only way in, so that PAM has nothing to ask.
_PAM = "".join(f"{kind} required pam_permit.so\n" for kind in ("auth", "account", "password", "session"))
# A program that sudo starts must not fall back to the emulator's own core.
_SUDO = 'Defaults env_keep += "QEMU_CPU"\npi ALL=(ALL) NOPASSWD: ALL\n'
_PI = 1000


def rootfs(suite: str, architecture: str = "arm64") -> Path:
    """The folder of one, from the cache; never to be written to.

    Args:
        suite: A key of ``SUITES``.
        architecture: As Debian spells it; this machine's own for a container.
    """
    here = Path(__file__)
    made_by: list[Path | str] = [here, here.with_name("debian.py"), suite, architecture]
    return kept(f"{suite}-{architecture}", made_by, lambda target: _make(suite, architecture, target))


def _make(suite: str, architecture: str, target: Path) -> None:
    debian.unpack(suite, architecture, _PACKAGES.split(), target)
    target.chmod(0o755)
    _accounts(target)
    etc = target / "etc"
    for file in (etc / "pam.d").iterdir():
        file.unlink()
    (etc / "pam.d" / "other").write_text(_PAM)
    (etc / "sudoers.d" / "pi").write_text(_SUDO)
    (etc / "hosts").write_text("127.0.0.1 localhost board\n")
    (etc / "hostname").write_text("board\n")
    (etc / "ssl" / "certs").mkdir(parents=True, exist_ok=True)
    authorities = sorted((target / "usr/share/ca-certificates/mozilla").glob("*.crt"))
    (etc / "ssl" / "certs" / "ca-certificates.crt").write_text("".join(file.read_text() for file in authorities))
    (target / "usr/bin/awk").symlink_to("gawk")
    for path in ("home/pi/.ssh", "root/.ssh", "run/sshd", "opt", "usr/local/bin"):
        (target / path).mkdir(parents=True, exist_ok=True)
    for home in (target / "home/pi", target / "home/pi/.ssh"):
        shutil.chown(home, _PI, _PI)
    (target / "tmp").chmod(0o1777)
    for path in ("usr/share/doc", "usr/share/man", "usr/share/locale", "var/lib/apt/lists", "usr/lib/udev/hwdb.d"):
        shutil.rmtree(target / path, ignore_errors=True)


def _accounts(target: Path) -> None:
    etc, masters = target / "etc", target / "usr/share/base-passwd"
    users = (masters / "passwd.master").read_text().replace("root:*:", "root:x:", 1) + _USERS
    (etc / "passwd").write_text(users)
    groups = (masters / "group.master").read_text() + _GROUPS
    (etc / "group").write_text(
        groups.replace("\nvideo:*:44:", "\nvideo:*:44:pi", 1).replace("\nsudo:*:27:", "\nsudo:*:27:pi", 1)
    )
    names = [line.split(":")[0] for line in users.splitlines()]
    (etc / "shadow").write_text("".join(f"{name}:*:19000:0:99999:7:::\n" for name in names))
    (etc / "shadow").chmod(0o640)
