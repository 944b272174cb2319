"""The model file: a standard ``.tflite`` with ``card.json`` and ``labels.txt`` in a zip archive at its end.

TensorFlow Lite reads a file from the front and a zip reader from the back, so both live in one file
(https://www.tensorflow.org/lite/models/metadata#model_with_metadata_format). The device needs only ``zipfile``.
"""

from __future__ import annotations

from pathlib import Path

from runtime.card import CARD_FILE, ModelCard, Network
from runtime.errors import InputError
from runtime.files import check_file

_IDENTIFIER = b"TFL3"
# A zip archive ends in a record of 22 bytes that begins so, and a comment of at most 65535.
_ARCHIVE_END, _ARCHIVE_TAIL = b"PK\x05\x06", 22 + 0xFFFF
_MAX_CARD_BYTES = 16 << 20
_REBUILD = "check the path, or rebuild the model with python -m convert"


def check_model_file(path: Path) -> Path:
    """Refuses a file that cannot be a ``.tflite`` model, before an interpreter sees it.

    Raises:
        InputError: Missing, empty, or without the ``TFL3`` identifier.
    """
    check_file(path, "a .tflite model", _REBUILD)
    with path.open("rb") as stream:
        head = stream.read(8)
    if head[4:8] != _IDENTIFIER:
        raise InputError(f"{path} is not a TensorFlow Lite file", "expected 'TFL3' at byte 4", _REBUILD)
    return path


def read_card(path: Path) -> ModelCard | None:
    """The card inside a model file, or ``None`` when the file has none.

    Raises:
        InputError: Not a model file, a card that is too large, damaged or of another schema version, or a network
            that is not the one the card was written for.
    """
    check_model_file(path)
    text = _read_member(path)
    if text is None:
        return None
    card = ModelCard.from_json(text, f"{path} {CARD_FILE}")
    if card.network is not None:
        _check_network(path, card.network)
    return card


def _read_member(path: Path) -> bytes | None:
    if not has_archive(path):
        return None
    import zipfile

    try:
        archive = zipfile.ZipFile(path)
    except archive_errors():
        return None
    with archive:
        try:
            size = archive.getinfo(CARD_FILE).file_size
        except KeyError:
            return None
        if size > _MAX_CARD_BYTES:
            raise InputError(f"{path} holds a {CARD_FILE} of {size} bytes", "expected at most 16 MiB", _REBUILD)
        try:
            return archive.read(CARD_FILE)
        except archive_errors() as error:
            raise InputError(f"{CARD_FILE} in {path} cannot be read ({error})", "", _REBUILD) from None


def archive_errors() -> tuple[type[Exception], ...]:
    """What the zip reader may raise for a damaged archive, its decompressors' own errors among them."""
    import lzma
    import zipfile
    import zlib

    damaged = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError)
    return (*damaged, OSError, ValueError, NotImplementedError, RuntimeError)


def has_archive(path: Path) -> bool:
    """Whether a zip archive may end the file; spares files from elsewhere the zip reader's import."""
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, path.stat().st_size - _ARCHIVE_TAIL))
            return _ARCHIVE_END in stream.read()
    except OSError:
        return False


def _check_network(path: Path, network: Network) -> None:
    import hashlib

    with path.open("rb") as stream:
        data = stream.read(network.bytes) if 0 < network.bytes <= path.stat().st_size else b""
    if hashlib.sha256(data).hexdigest() != network.sha256:
        raise InputError(f"{path} is damaged", "expected the network its card was written for", _REBUILD)


def require_card(path: Path) -> ModelCard:
    """The card inside a model file.

    Raises:
        InputError: As :func:`read_card`, and when there is no card.
    """
    card = read_card(path)
    if card is None:
        raise InputError(
            f"{path} has no {CARD_FILE} (it comes from another tool, or its end is cut off)",
            "expected a model file made by python -m convert",
            "convert the network it was made from, or rebuild it",
        )
    return card
