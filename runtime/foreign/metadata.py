"""What a file from elsewhere says about itself: standard TFLite metadata, and Ultralytics' own.

Standard metadata is a flatbuffer inside the model (``metadata_schema.fbs`` of MediaPipe and tflite-support; the numbers
are field positions in it) and associated files in a zip archive at the file's end. Ultralytics stores a dictionary as
one such file: ``metadata.json``, ``temp_meta.txt`` or ``meta.txt``, the text ones as Python writes a dictionary.
"""

from __future__ import annotations

import ast
import json
import math
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from runtime.foreign.flatbuffer import DamagedError, Table
from runtime.modelfile import archive_errors, has_archive
from runtime.values import value

_MAX_MEMBER_BYTES = 4 << 20
_ULTRALYTICS_FILES = ("metadata.json", "temp_meta.txt", "meta.txt")
_NORMALIZATION, _IMAGE = 1, 2
_RGB = 1
_LABEL_FILES = (2, 3)  # TENSOR_AXIS_LABELS, TENSOR_VALUE_LABELS


@value
class Metadata:
    """What is known about a file.

    Attributes:
        name, licence: As its authors call it; may be empty.
        mean, std: ``real = (pixel - mean) / std``, one value or three; empty when not told.
        rgb: Whether the colour order is told to be red, green, blue.
        labels: Lines of the label file; empty when there is none.
        ultralytics: Whether Ultralytics wrote the file.
        task: Ultralytics' word for what it does, such as ``detect``.
    """

    name: str = ""
    licence: str = ""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    rgb: bool = False
    labels: tuple[str, ...] = ()
    ultralytics: bool = False
    task: str = ""


def read_metadata(path: Path, buffer: bytes) -> Metadata:
    """Everything a file tells; what is damaged counts as not told.

    Args:
        path: The ``.tflite`` file.
        buffer: Its ``TFLITE_METADATA``; may be empty.
    """
    members = _Members(path)
    facts = _ultralytics(members)
    if facts is not None:
        names = _ultralytics_names(facts.get("names"))
        task, licence = (str(facts.get(key, "")) for key in ("task", "license"))
        return Metadata(licence=licence, labels=names, rgb=True, ultralytics=True, task=task)
    try:
        return _standard(buffer, members) if buffer else Metadata()
    except (DamagedError, struct.error):
        return Metadata()


class _Members:
    """Files in the archive at a model's end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._any = has_archive(path)

    def text(self, name: str) -> str | None:
        """A file's text; ``None`` when it is missing, too large or broken."""
        if not self._any:
            return None
        import zipfile

        try:
            with zipfile.ZipFile(self._path) as archive:
                if archive.getinfo(name).file_size > _MAX_MEMBER_BYTES:
                    return None
                return archive.read(name).decode("utf-8-sig")
        except KeyError:
            return None
        except archive_errors():
            return None


def _ultralytics(members: _Members) -> dict[Any, Any] | None:
    for name in _ULTRALYTICS_FILES:
        text = members.text(name)
        if text is None:
            continue
        try:
            facts = json.loads(text) if name.endswith(".json") else ast.literal_eval(text.strip())
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
        if isinstance(facts, dict) and "names" in facts:
            return facts
    return None


def _ultralytics_names(names: Any) -> tuple[str, ...]:
    """Names by class number, from a dictionary (whose keys JSON turns into text) or a list."""
    if isinstance(names, dict):
        try:
            numbered = {int(key): _text(name) for key, name in names.items()}
        except (TypeError, ValueError):
            return ()
        return tuple(numbered[key] for key in sorted(numbered)) if set(numbered) == set(range(len(numbered))) else ()
    return tuple(map(_text, names)) if isinstance(names, (list, tuple)) else ()


def _text(name: object) -> str:
    """A name that can be printed: JSON and Python can write half of a UTF-16 pair."""
    return str(name).encode("utf-8", "replace").decode()


def _standard(buffer: bytes, members: _Members) -> Metadata:
    root = Table.root(buffer)
    subgraphs = root.tables(3)
    inputs = subgraphs[0].tables(2) if subgraphs else []
    outputs = subgraphs[0].tables(3) if subgraphs else []
    mean, std = _normalisation(inputs)
    files = [file for output in outputs for file in output.tables(6)]
    files += [file for subgraph in subgraphs[:1] for file in subgraph.tables(4)]
    return Metadata(root.text(0), root.text(5), mean, std, _is_rgb(inputs), _labels(files + root.tables(6), members))


def _normalisation(inputs: Iterable[Table]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    for unit in [unit for tensor in inputs for unit in tensor.tables(4)]:
        options = unit.table(1)
        if unit.number(0, "B") == _NORMALIZATION and options is not None:
            mean, std = options.numbers(0, "f"), options.numbers(1, "f")
            sensible = {len(mean), len(std)} <= {1, 3} and all(map(math.isfinite, mean + std)) and all(std)
            if sensible:
                return mean, std
    return (), ()


def _is_rgb(inputs: Iterable[Table]) -> bool:
    for tensor in inputs:
        content = tensor.table(3)
        properties = content.table(1) if content and content.number(0, "B") == _IMAGE else None
        if properties is not None and properties.number(0, "b") == _RGB:
            return True
    return False


def _labels(files: Iterable[Table], members: _Members) -> tuple[str, ...]:
    """Lines of the first label file; of several, those in other languages come later."""
    for file in files:
        if file.number(2, "b") in _LABEL_FILES and (text := members.text(file.text(0))) is not None:
            lines = [line.strip() for line in text.splitlines()]
            while lines and not lines[-1]:
                lines.pop()
            if lines:
                return tuple(lines)
    return ()
