"""``edgewren[device]`` on an emulated board, from a wheelhouse made here: the board has no way to any index."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.arm.boards import Board, UserLand
from tests.arm.boards.cache import ROOT, kept
from tests.arm.boards.rootfs import SUITES, rootfs

_PLACE = "/opt/edgewren"
PYTHON = f"{_PLACE}/bin/python"
_WHEELS = "/opt/wheels"
# pip compares whole tags: all C libraries that wheels are built for, up to that of bookworm.
_PLATFORMS = ("manylinux2014_aarch64", *(f"manylinux_2_{minor}_aarch64" for minor in range(17, 37)))


def equipped(suite: str) -> Path:
    """A layer over a release in which everything ``[device]`` needs is installed; from the cache.

    Installed by the board itself, without any index. The project is in it as well; :func:`install` replaces it.
    """
    here, wheels, base = Path(__file__), wheelhouse(suite), rootfs(suite)
    return kept(f"equipped-{suite}", [here, wheels.name, base.name], lambda target: _equip(suite, wheels, target))


def _equip(suite: str, wheels: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    with tempfile.TemporaryDirectory() as temporary:
        wheel = project_wheel(Path(temporary))
        with UserLand(Path(temporary) / "board", suite) as board:
            board.run(f"mkdir -p {_WHEELS} && python3 -m venv --without-pip {_PLACE}", user="root")
            board.send([*wheels.iterdir(), wheel], _WHEELS, user="root")
            # Emulated, compiling takes longer than all else: pip once, and of the packages not their tests.
            compiled = f"{PYTHON} -m compileall -q -j 0 -x '/tests?/' {_PLACE}/lib"
            unpacked = f"python3 -m zipfile -e {_WHEELS}/pip-*.whl {_PLACE}/lib/python3.*/site-packages"
            board.run(f"{unpacked} && {compiled}", user="root", timeout=600)
            options = f"--quiet --no-index --no-compile --find-links {_WHEELS}"
            board.run(f"{PYTHON} -m pip install {options} '{_WHEELS}/{wheel.name}[device]'", user="root", timeout=600)
            board.run(compiled, user="root", timeout=600)
        inside = target / _PLACE.lstrip("/")
        inside.parent.mkdir(parents=True)
        subprocess.run(["cp", "-a", board.path(_PLACE), inside], check=True)


def install(board: Board, wheel: Path) -> None:
    """Installs the project as it is on an equipped board.

    Args:
        board: One that runs over :func:`equipped`.
        wheel: What :func:`project_wheel` made.
    """
    board.send([wheel], "/tmp", user="root")
    # What it needs is there: the layer is made anew when the project asks for something else.
    options = "--quiet --no-index --no-deps --force-reinstall"
    board.run(f"{PYTHON} -m pip install {options} /tmp/{wheel.name}", user="root", timeout=300)


def wheelhouse(suite: str) -> Path:
    """A folder of wheels: what ``[device]`` needs on a release's Python, and pip; from the cache."""
    here, project = Path(__file__), ROOT / "pyproject.toml"
    return kept(f"wheels-{suite}", [here, project, suite], lambda target: _download(SUITES[suite], target))


def _download(python: str, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    version = python.replace(".", "")
    tags = ["--only-binary=:all:", "--python-version", version, "--implementation", "cp"]
    tags += [part for abi in (f"cp{version}", "abi3", "none") for part in ("--abi", abi)]
    tags += [part for platform in _PLATFORMS for part in ("--platform", platform)]
    wheel = project_wheel(target)
    _pip("download", "--dest", target, *tags, f"{wheel}[device]", "pip")
    wheel.unlink(missing_ok=True)


def project_wheel(folder: Path) -> Path:
    """Builds the project's own wheel into a folder, from a copy: setuptools leaves traces where it builds."""
    sources = folder / "sources"
    for package in ("apps", "convert", "runtime"):
        shutil.copytree(ROOT / package, sources / package, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, sources)
    _pip("wheel", "--no-deps", "--wheel-dir", folder, sources)
    shutil.rmtree(sources)
    return next(folder.glob("edgewren-*.whl"))


def _pip(*arguments: object) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True)
