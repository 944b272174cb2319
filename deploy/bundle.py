"""One executable zip file for a board: the agent, the release, and those parts that the board lacks."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from deploy.board.bundle import PARTS, Manifest
from deploy.code import Code
from deploy.preflight import Facts
from deploy.release import picture
from deploy.wheelhouse import Wheelhouse

_MAIN = "import sys\n\nfrom deploy.board.agent import main\n\nsys.exit(main())\n"
# All dates alike: the same parts give the same file, byte by byte.
_DATE = (1980, 1, 1, 0, 0, 0)


def needs(manifest: Manifest, facts: Facts) -> bool:
    """Whether the board has to be given anything."""
    return not (facts.values["release"] == manifest.id and facts.values["active"] and not facts.values["unfinished"])


def write_bundle(folder: Path, manifest: Manifest, facts: Facts, wheels: Wheelhouse, code: Code, model: Path) -> Path:
    """Writes what a board needs of a release.

    Args:
        folder: Where to.
        manifest: The release.
        facts: Says what the board has already.
        wheels: Packages of others.
        code: The project's wheel.
        model: The model file.

    Returns:
        ``<release>-<hash>.pyz``: boards with the same needs share one.
    """
    stored = facts.values["stored"]
    parts: dict[str, Path] = {}
    if f"packages-{manifest.packages}" not in stored:
        parts |= _files("packages", [*wheels.folder.glob("*.whl"), wheels.folder / "requirements.txt"])
    if f"code-{manifest.code}" not in stored:
        parts |= _files("code", [*code.folder.glob("*.whl"), code.folder / "requirements.txt"])
    if any(part.endswith("requirements.txt") for part in parts):
        parts |= _files("pip", [wheels.pip])
    if f"model-{manifest.model[:16]}" not in stored:
        parts |= _files("model", [model])
    digest = hashlib.sha256(repr(sorted(parts)).encode()).hexdigest()[:8]
    path = folder / f"{manifest.id}-{digest}.pyz"
    if not path.exists():
        _write(path, manifest, parts, picture(model.resolve()))
    return path


def write_agent(path: Path) -> Path:
    """The agent alone: a board's own may be older than what it is asked."""
    with zipfile.ZipFile(path, "w") as archive:
        _write_agent(archive)
    return path


def _write(path: Path, manifest: Manifest, parts: dict[str, Path], known: bytes) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        _write_agent(archive)
        _add(archive, f"{PARTS}release.json", json.dumps(asdict(manifest), indent=1).encode())
        _add(archive, f"{PARTS}smoke.png", known)
        for name, source in sorted(parts.items()):
            _add(archive, f"{PARTS}{name}", source.read_bytes())


def _write_agent(archive: zipfile.ZipFile) -> None:
    _add(archive, "__main__.py", _MAIN.encode())
    board = Path(__file__).with_name("board")
    for source in [Path(__file__).with_name("__init__.py"), *sorted(board.glob("*.py"))]:
        _add(archive, str(source.relative_to(board.parents[1])), source.read_bytes())


def _files(part: str, files: Iterable[Path]) -> dict[str, Path]:
    return {f"{part}/{path.name}": path for path in files}


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name, _DATE), data)
