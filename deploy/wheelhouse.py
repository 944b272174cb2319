"""The packages of others, for a board's own Python: downloaded here, hashed here, compared there.

pip matches platform tags exactly, so all that fit the board's C library are named. A wheelhouse is kept by its pins and
tags under ``build/wheelhouse``; the second deployment downloads nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import parse_wheel_filename

from deploy.preflight import Facts
from runtime.errors import InputError, RunError

ROOT = Path(__file__).resolve().parents[1]
CACHE = Path("build/wheelhouse")
# pip itself travels along: Debian's Python may lack ensurepip, and its age does not matter then.
_PIP = "pip==26.3"
_OLDEST_GLIBC = 17
# What Picamera2's own packages bring, and must stay as they are: they were compiled against that NumPy.
_FROM_SYSTEM = {"numpy"}
# No wheel of it is published for 32 bits.
_FROM_SYSTEM_32 = {"numpy", "tornado"}


@dataclass(frozen=True)
class Tags:
    """What wheels a board takes.

    Attributes:
        python: Major and minor version.
        architecture: ``aarch64``, ``armv7l`` or ``x86_64``.
        glibc: Minor version of the C library.
        system_packages: NumPy comes from the board's Debian packages.
    """

    python: tuple[int, int]
    architecture: str
    glibc: int
    system_packages: bool

    @staticmethod
    def of(facts: Facts, csi: bool) -> Tags:
        """Those of a board."""
        minor = facts.values["glibc"].partition(".")[2]
        thirty_two = facts.architecture == "armv7l"
        return Tags(facts.python, facts.architecture, int(minor or 31), csi or thirty_two)

    @property
    def options(self) -> list[str]:
        """For ``pip download``."""
        version = "".join(map(str, self.python))
        names = [f"manylinux_2_{minor}_{self.architecture}" for minor in range(self.glibc, _OLDEST_GLIBC - 1, -1)]
        names += [f"manylinux2014_{self.architecture}", f"linux_{self.architecture}"]
        options = ["--only-binary=:all:", "--python-version", version, "--implementation", "cp"]
        options += [part for abi in (f"cp{version}", "abi3", "none") for part in ("--abi", abi)]
        return options + [part for name in names for part in ("--platform", name)]


@dataclass(frozen=True)
class Wheelhouse:
    """Wheels in a folder, with pip's beside them.

    Attributes:
        folder: The wheels and ``requirements.txt``.
        pip: pip's wheel.
        hash: Of the requirements with their hashes.
    """

    folder: Path
    pip: Path
    hash: str


def requirements(tags: Tags) -> list[str]:
    """What ``pyproject.toml`` pins for the device, as far as it concerns this board."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    environment = {str(name): str(value) for name, value in default_environment().items()}
    environment |= {"platform_machine": tags.architecture, "python_version": ".".join(map(str, tags.python))}
    environment |= {"sys_platform": "linux", "platform_system": "Linux"}
    found = [Requirement(line) for line in project["optional-dependencies"]["device"]]
    return [
        f"{one.name}{one.specifier}"
        for one in found
        if (one.marker is None or one.marker.evaluate(environment)) and one.name not in _from_system(tags)
    ]


def _from_system(tags: Tags) -> set[str]:
    if tags.architecture == "armv7l":
        return _FROM_SYSTEM_32
    return _FROM_SYSTEM if tags.system_packages else set()


def wheelhouse(tags: Tags, cache: Path = CACHE) -> Wheelhouse:
    """The wheels for a kind of board, downloaded once.

    Raises:
        RunError: The package index cannot be reached, or has no wheel for this kind of board.
    """
    pins = requirements(tags)
    key = hashlib.sha256(repr((pins, tags, _PIP)).encode()).hexdigest()[:16]
    kind = f"cp{tags.python[0]}{tags.python[1]}-{tags.architecture}"
    folder = cache / f"{kind}-{key}"
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as temporary:
            made = Path(temporary) / "made"
            _fill(made, tags, pins, kind)
            place(made, folder)
    text = (folder / "requirements.txt").read_text()
    flag = "system" if tags.system_packages else "own"
    digest = hashlib.sha256(f"{kind} {flag}\n{text}".encode()).hexdigest()[:16]
    return Wheelhouse(folder, next(folder.glob("pip/pip-*.whl")), digest)


def place(made: Path, folder: Path) -> None:
    """Puts a finished folder in its place; another run may have been faster with the same."""
    with contextlib.suppress(OSError):
        made.rename(folder)


def lock(wheels: Sequence[Path]) -> str:
    """A requirements file that takes exactly these wheels."""
    lines = []
    for wheel in sorted(wheels):
        name, version, _, _ = parse_wheel_filename(wheel.name)
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        lines.append(f"{name}=={version} --hash=sha256:{digest}\n")
    return "".join(lines)


def _fill(folder: Path, tags: Tags, pins: list[str], kind: str) -> None:
    pip = folder / "pip"
    pip.mkdir(parents=True)
    # On 32 bits the system brings what the runtime depends on, too.
    alone = ["--no-deps"] if tags.architecture == "armv7l" else []
    _download(folder, [*alone, *tags.options, *pins], kind)
    for wheel in folder.glob("*.whl"):
        if wheel.name.partition("-")[0] in _from_system(tags):
            wheel.unlink()
    _download(pip, ["--no-deps", "--only-binary=:all:", _PIP], kind)
    (folder / "requirements.txt").write_text(lock(list(folder.glob("*.whl"))))


def _download(folder: Path, arguments: list[str], kind: str) -> None:
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "-q", "-d", str(folder)]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return
    if shutil.disk_usage(folder).free < 200 << 20:
        raise InputError(
            f"no space for the wheelhouse in {folder.parent.parent}", "expected 200 MiB", "free disk space here"
        )
    errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
    missing = [line for line in errors if "No matching distribution" in line]
    reason = (missing or errors or ["ERROR: no message"])[-1].removeprefix("ERROR: ")
    raise RunError(
        f"the wheels for {kind} could not be had ({reason})", "expected the package index", "check the network, retry"
    )
