"""What is to run on a board, and the board it is to run on."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from convert.stopwatch.address import Address
from runtime.errors import InputError
from runtime.grammar import shown

_CAMERA = re.compile(r"(?:(\d+)|v4l2://(/dev/video\d+))(?:\?.*)?")
_KEYS = ("model", "source", "port", "options")


@dataclass(frozen=True)
class Settings:
    """How the live app runs on a board.

    Attributes:
        model: The model file on this machine.
        source: As ``apps.live`` takes it: ``0``, ``csi://0``, ``rtsp://..``, ``synthetic://cards``.
        port: TCP port of the live page; 0 serves none.
        options: Further words for ``apps.live``: options and outputs.
    """

    model: Path
    source: str = "0"
    port: int = 8080
    options: tuple[str, ...] = ()

    @property
    def camera(self) -> str:
        """Path of the V4L2 device it reads, ``csi``, or ``""``."""
        if self.source.startswith("csi://"):
            return "csi"
        found = _CAMERA.fullmatch(self.source)
        return (found[2] or f"/dev/video{int(found[1])}") if found else ""


@dataclass(frozen=True)
class Target:
    """One board of an inventory.

    Attributes:
        name: In Ansible's inventory.
        address: Where ssh finds it.
        settings: What is to run on it.
    """

    name: str
    address: Address
    settings: Settings = field(compare=False)

    def check_model(self) -> None:
        """Whether there is anything to deploy; what is on a board already needs no file here.

        Raises:
            InputError: The model file does not exist.
        """
        model = self.settings.model
        if not model.is_file():
            built = model == _built(model.stem)
            action = f"make models MODELS={model.stem}" if built else "give MODEL=file.tflite"
            raise InputError(f"{self.name}: {model}: no such file", "expected a model file", action)


def settings_from(values: dict[str, Any], where: str) -> Settings:
    """Settings from an inventory's variables or a command line.

    Args:
        values: ``model`` (a recipe's name or a path), ``source``, ``port``, ``options``.
        where: For errors.

    Raises:
        InputError: A value that cannot be right.
    """
    model = str(values.get("model") or "playing-cards")
    path = Path(model) if model.endswith(".tflite") else _built(model)
    port = str(values.get("port", 8080))
    if not port.isdecimal() or not (port == "0" or 1024 <= int(port) <= 65535):
        raise InputError(
            f"{where}: port {port}",
            "expected 1024 to 65535, as the service is not root, or 0 for no page",
            "choose another port",
        )
    source, options = str(values.get("source", "0")), values.get("options", ())
    words = options.split() if isinstance(options, str) else [str(word) for word in options]
    for word in (source, *words):
        # systemd's own quoting is not worth a clever escape: in an address such letters can be written as %XX.
        if not word or not word.isprintable() or re.search(r"[\s\"'\\$;]", word):
            expected = "expected a word without spaces, quotes, \\, $ and ;"
            raise InputError(
                f"{where}: {shown(word)!r}", expected, "choose another, in an address %20 for a space and so on"
            )
    return Settings(path, source, int(port), tuple(words))


def _built(name: str) -> Path:
    """Where ``make models`` puts a recipe's model."""
    return Path("build/models") / f"{name}.tflite"
