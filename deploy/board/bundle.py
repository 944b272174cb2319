"""What travelled to the board: this program's own zip file and the parts of a release in it."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import io
import json
import marshal
import shutil
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.board.layout import write
from deploy.board.steps import BoardError

PARTS = "parts/"


@dataclass(frozen=True)
class Manifest:
    """A release as the host describes it.

    Attributes:
        id: ``<version>-<hash>``: the hash covers everything below.
        version: Of the project.
        packages: Content hash of the packages of others for this board.
        code: Content hash of the project's own wheel and of ``packages``.
        model: SHA-256 of the model file.
        model_name: Its file name.
        system_packages: The environment sees Debian's Python packages as well (Picamera2).
        port: TCP port of the live page, 0 where there is none.
        unit: The text of the service's unit.
        answer: What detection on the picture must find: ``{"score", "detections": [{"label", "score", "box"}]}``.
    """

    id: str
    version: str
    packages: str
    code: str
    model: str
    model_name: str
    system_packages: bool
    port: int
    unit: str
    answer: dict[str, Any]


def read_manifest(text: str | bytes) -> Manifest:
    """A manifest from its JSON."""
    return Manifest(**json.loads(text))


class Bundle:
    """The zip file this program runs from.

    Args:
        path: It; by default the one that runs.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or Path(sys.path[0])
        self._zip = zipfile.ZipFile(self.path)
        self.names = frozenset(self._zip.namelist())

    def manifest(self) -> Manifest:
        """The release in it.

        Raises:
            BoardError: There is none: this is the agent alone.
        """
        if f"{PARTS}release.json" not in self.names:
            raise BoardError("this file holds no release")
        return read_manifest(self._zip.read(f"{PARTS}release.json"))

    def has(self, part: str) -> bool:
        """Whether a file or a folder of parts is in it."""
        return any(name.startswith(f"{PARTS}{part}") for name in self.names)

    def text(self, part: str) -> str:
        """A small file."""
        return self._zip.read(f"{PARTS}{part}").decode()

    def unpack(self, part: str, folder: Path) -> None:
        """Writes a file, or the files of a folder of parts, into a folder."""
        for name in sorted(self.names):
            if name.startswith(f"{PARTS}{part}") and not name.endswith("/"):
                with self._zip.open(name) as source, (folder / Path(name).name).open("wb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)

    def install_agent(self, target: Path) -> bool:
        """Leaves this program, without the parts, on the board; whether that changed anything.

        With the source goes what Python makes of it, so that no later start has to.
        """
        sources = {name: self._zip.read(name) for name in sorted(self.names) if not name.startswith(PARTS)}
        mark = hashlib.sha256(repr((sys.version, sorted(sources.items()))).encode()).hexdigest().encode()
        with contextlib.suppress(OSError, zipfile.BadZipFile), zipfile.ZipFile(target) as there:
            if there.comment == mark:
                return False
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w") as agent:
            agent.comment = mark
            for name, source in sources.items():
                agent.writestr(zipfile.ZipInfo(name), source)
                if name != "__main__.py":
                    agent.writestr(zipfile.ZipInfo(f"{name}c"), _byte_code(source, f"{target}/{name}"))
        write(target, made.getvalue())
        return True


def _byte_code(source: bytes, name: str) -> bytes:
    """A ``.pyc`` file as PEP 552 has it: named by a hash that nobody compares."""
    head = importlib.util.MAGIC_NUMBER + (0b01).to_bytes(4, "little") + importlib.util.source_hash(source)
    return head + marshal.dumps(compile(source, name, "exec", dont_inherit=True))


def sha256(path: Path) -> str:
    """Of a file's content, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
