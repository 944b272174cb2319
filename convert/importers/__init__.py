"""Readers of networks made by other tools, chosen by file name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from runtime.errors import InputError
from runtime.files import check_file

if TYPE_CHECKING:
    from convert.source import SourceModel


def load_source(
    path: Path, weights: Path | None = None, labels: Path | None = None, input_size: tuple[int, int] | None = None
) -> SourceModel:
    """Reads a network.

    Args:
        path: A Darknet ``.cfg``, or a ``.keras`` that ``convert prune`` wrote.
        weights: The ``.cfg``'s weights file; by default the one beside it.
        labels: Class names, one per line.
        input_size: ``(width, height)`` in pixels instead of the network's own size.

    Raises:
        InputError: A kind of file that has no importer, or one the importer refuses.
    """
    if path.suffix.lower() == ".keras":
        return _keras(path, weights, labels, input_size)
    if path.suffix.lower() != ".cfg":
        raise InputError(
            f"{path} is not a network this version reads",
            "expected a Darknet .cfg with its .weights, or a pruned .keras",
        )
    check_file(path, "a Darknet .cfg file")
    from convert.quiet import import_keras

    import_keras()
    from convert.importers import darknet

    return darknet.load(path, weights, labels, input_size)


def _keras(path: Path, weights: Path | None, labels: Path | None, input_size: tuple[int, int] | None) -> SourceModel:
    given = [
        name for name, value in (("--weights", weights), ("--labels", labels), ("--input-size", input_size)) if value
    ]
    if given:
        raise InputError(f"{given[0]} with {path}", "a .keras file has all of it", f"leave out {given[0]}")
    from convert.quiet import import_keras

    import_keras()
    from convert.importers import keras_file

    return keras_file.load(path)
