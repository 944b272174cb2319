"""``edgewren[device]`` on an emulated board, from a deployment's own wheels: the board has no way to any index."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from deploy import code
from deploy.wheelhouse import CACHE, Tags, Wheelhouse, wheelhouse
from tests.arm.boards import UserLand
from tests.arm.boards.cache import ROOT, kept
from tests.arm.boards.rootfs import SUITES, rootfs

_PLACE = "/opt/edgewren"
PYTHON = f"{_PLACE}/bin/python"
_WHEELS = "/opt/wheels"
_GLIBC = {"bookworm": 36, "trixie": 41}
# What a detection imports of other projects.
_USED = "cv2, numpy, ai_edge_litert.interpreter"


def ready(suite: str) -> tuple[Path, ...]:
    """Layers over a release, the topmost first: the project as it is, and all it needs; from the cache.

    Both were installed by the board itself, without any index.
    """
    below, wheel = _equipped(suite), project_wheel()
    made_by: list[Path | str] = [Path(__file__), wheel, below.name]
    above = kept(f"ready-{suite}", made_by, lambda target: _install(suite, below, wheel, target))
    return above, below


def _equipped(suite: str) -> Path:
    """Everything that ``[device]`` needs, and the project as it was then: what changes from day to day lies over it."""
    python = tuple(map(int, SUITES[suite].split(".")))
    wheels = wheelhouse(Tags((python[0], python[1]), "aarch64", _GLIBC[suite], system_packages=False), ROOT / CACHE)
    made_by: list[Path | str] = [Path(__file__), wheels.hash, wheels.pip.name, rootfs(suite).name]
    return kept(f"equipped-{suite}", made_by, lambda target: _equip(suite, wheels, target))


def _equip(suite: str, wheels: Wheelhouse, target: Path) -> None:
    project = project_wheel()
    with tempfile.TemporaryDirectory() as temporary, UserLand(Path(temporary), suite) as board:
        board.run(f"mkdir -p {_WHEELS} && python3 -m venv --without-pip {_PLACE}", user="root")
        board.send([*wheels.folder.glob("*.whl"), wheels.pip, project], _WHEELS, user="root")
        board.run(f"python3 -m zipfile -e {_WHEELS}/pip-*.whl {_PLACE}/lib/python3.*/site-packages", user="root")
        # Emulated, compiling takes longer than all else: root's imports leave what was compiled of what is used.
        options = f"--quiet --no-index --no-compile --find-links {_WHEELS}"
        board.run(f"{PYTHON} -m pip install {options} '{_WHEELS}/{project.name}[device]'", user="root", timeout=600)
        board.run(f"{PYTHON} -c 'import {_USED}'", user="root", timeout=600)
        _copy(board, target)


def _install(suite: str, below: Path, wheel: Path, target: Path) -> None:
    with tempfile.TemporaryDirectory() as temporary, UserLand(Path(temporary), suite, over=(below,)) as board:
        board.send([wheel], "/tmp", user="root")
        # What it needs is there: the layer below is made anew when the project asks for something else.
        options = "--quiet --no-index --no-deps --force-reinstall"
        board.run(f"{PYTHON} -m pip install {options} /tmp/{wheel.name}", user="root", timeout=300)
        _copy(board, target)


def _copy(board: UserLand, target: Path) -> None:
    """What a board has written into the program's folder, what it has removed there included."""
    inside = target / _PLACE.lstrip("/")
    inside.parent.mkdir(parents=True)
    subprocess.run(["cp", "-a", board.path(_PLACE), inside], check=True)


def project_wheel() -> Path:
    """The project's own wheel as a deployment brings it."""
    return next(code.project_wheel(ROOT / CACHE).folder.glob("edgewren-*.whl"))
