"""The project's own wheel, with what a board needs of it: runtime and apps."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from deploy.wheelhouse import ROOT, lock, place
from runtime.errors import RunError

CACHE = Path("build/wheelhouse")
_FOLDERS, _FILES = ("runtime", "apps"), ("pyproject.toml", "README.md", "LICENSE")


@dataclass(frozen=True)
class Code:
    """The wheel's folder (it and its ``requirements.txt``) and a hash of what it was built from."""

    folder: Path
    hash: str


def project_wheel(cache: Path = CACHE) -> Code:
    """Builds the wheel, once for each state of the source.

    Raises:
        RunError: pip could not build it.
    """
    files = sorted(path for name in _FOLDERS for path in (ROOT / name).rglob("*") if _belongs(path))
    files += [ROOT / name for name in _FILES]
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(ROOT)}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    folder = cache / f"code-{digest.hexdigest()[:16]}"
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as temporary:
            source, made = Path(temporary) / "source", Path(temporary) / "made"
            for path in files:
                target = source / path.relative_to(ROOT)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
            _build(source, made)
            place(made, folder)
    return Code(folder, digest.hexdigest()[:16])


def _belongs(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")


def _build(source: Path, made: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--disable-pip-version-check", "-q"]
    # Zip files know no year before 1980; the same source gives the same wheel.
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "315532800"}
    done = subprocess.run(
        [*command, "-w", str(made), str(source)], capture_output=True, text=True, env=environment, check=False
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise RunError(f"the project's wheel could not be built ({reason})", "expected the package index", "retry")
    (made / "requirements.txt").write_text(lock(list(made.glob("*.whl"))))
