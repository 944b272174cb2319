"""Networks in Keras's own files: this project's pruned ones, with what the device must know, and any others without.

A ``.keras`` file is a zip (https://keras.io/api/models/model_saving_apis/model_saving_and_loading/). What Keras does
not know about a detector (how pictures are fed, how heads become boxes, class names) lies in it as one more member.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from convert.quiet import quiet
from convert.source import SourceModel
from runtime.card import DecoderSpec, InputSpec, Labels, Pruning, Source, Thresholds
from runtime.errors import InputError
from runtime.files import check_file, replacing
from runtime.schema import decode, encode

_MEMBER = "edgewren.json"
# Larger than any list of class names; a file that claims more is not ours.
_MOST_BYTES = 4 << 20


@dataclass(frozen=True)
class Facts:
    """What the device must know about a detector."""

    name: str
    input: InputSpec
    decoder: DecoderSpec
    labels: Labels
    source: Source
    thresholds: Thresholds
    pruning: Pruning | None = None


def save(path: Path, model: keras.Model, source: SourceModel | None = None) -> None:
    """Writes a network.

    Args:
        path: The ``.keras``.
        model: The network.
        source: What is known about it as a detector, if anything.

    Raises:
        InputError: The place cannot be written.
        RunError: The disk is full.
    """
    with replacing(path) as scratch:
        with quiet():
            model.save(scratch)
        if source is not None:
            facts = Facts(**{name: getattr(source, name) for name in Facts.__dataclass_fields__})
            with zipfile.ZipFile(scratch, "a") as archive:
                archive.writestr(_MEMBER, json.dumps(encode(facts), indent=1))


def load(path: Path) -> SourceModel:
    """Reads a detector that :func:`save` wrote.

    Raises:
        InputError: Not such a file, damaged, or a network without what the device must know.
    """
    model, facts = load_model(path), _facts(path)
    if facts is None:
        raise InputError(
            f"{path} does not say how pictures are fed to it and how its heads become boxes",
            "expected a detector pruned by this project",
            "python -m convert prune takes any .keras, but gives a .keras back",
        )
    return SourceModel(model=model, **{name: getattr(facts, name) for name in Facts.__dataclass_fields__})


def is_detector(path: Path) -> bool:
    """Whether a file says what the device must know.

    Raises:
        InputError: It says it wrongly.
    """
    return _facts(path) is not None


def load_model(path: Path) -> keras.Model:
    """Reads any Keras network; nothing in the file is run.

    Raises:
        InputError: Not a network, damaged, or one with code of its own.
    """
    # Registers this project's own layers, which files of pruned networks have.
    import convert.models.layers  # noqa: F401

    check_file(path, "a Keras model (.keras or .h5)")
    try:
        with quiet():
            model = keras.saving.load_model(path, compile=False, safe_mode=True)
    # What damage raises depends on the byte, and what foreign classes raise on the class.
    except Exception as error:
        raise _refused(path, error) from None
    if not isinstance(model, keras.Model):
        raise InputError(f"{path} holds a {type(model).__name__}", "expected a Keras model")
    return model


def _refused(path: Path, error: Exception) -> InputError:
    text = " ".join(str(error).split())
    if "Could not locate class" in text or "Unknown layer" in text or "not registered" in text:
        return InputError(
            f"{path} has classes of its own ({text[:140]})",
            "expected Keras's own layers in a functional or sequential model, not a sub-classed one",
            "rebuild it as keras.Model(inputs, outputs) and save that",
        )
    if "safe_mode" in text or "Lambda" in text or "lambda" in text:
        return InputError(f"{path} has a Lambda layer", "expected a network without code in it", "write it as a layer")
    return InputError(f"{path} is not a Keras model ({text[:140]})", "expected .keras or .h5 with its architecture")


def _facts(path: Path) -> Facts | None:
    if path.suffix.lower() != ".keras":
        return None
    check_file(path, "a Keras model (.keras or .h5)")
    try:
        with zipfile.ZipFile(path) as archive:
            if _MEMBER not in archive.namelist():
                return None
            if archive.getinfo(_MEMBER).file_size > _MOST_BYTES:
                raise ValueError("too long")
            data: Any = json.loads(archive.read(_MEMBER))
    except (OSError, ValueError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        raise InputError(f"{path} is not a Keras model ({error})", "expected a .keras file") from None
    return decode(Facts, data, f"{path}: {_MEMBER}")
