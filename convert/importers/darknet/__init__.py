"""Importer for Darknet's ``.cfg`` + ``.weights`` (YOLOv3, YOLOv4 and the small nets of that family)."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

import keras

from convert.importers.darknet.cfg import Section, read_cfg
from convert.importers.darknet.network import Network, build
from convert.importers.darknet.weights import WeightsReader
from convert.source import SourceModel
from runtime.card import DecoderSpec, InputSpec, Labels, Source, SourceFile
from runtime.errors import InputError
from runtime.files import read_names

MAX_INPUT = 4096


def load(
    cfg: Path, weights: Path | None = None, labels: Path | None = None, input_size: tuple[int, int] | None = None
) -> SourceModel:
    """Reads a Darknet detector.

    Args:
        cfg: The ``.cfg`` file.
        weights: The ``.weights`` file; by default the one of the same name beside ``cfg``.
        labels: Text file with one class name per line; by default the only ``.names`` file beside ``cfg`` that has
            the right number of names. Without one, classes are called ``class 0``, ``class 1``, ...
        input_size: ``(width, height)`` in pixels instead of the one in ``[net]``.

    Raises:
        InputError: A file is missing or broken, a layer is unknown, or the weights do not fit; the message names the
            section, its line and the byte offset.
    """
    sections = read_cfg(cfg)
    weights = weights or _beside(cfg)
    reader = WeightsReader(weights)
    width, height = _input_size(sections[0], input_size)
    network = build(sections, reader, width, height)
    if not network.heads:
        raise InputError(f"{cfg} has no [yolo] section", "expected a detector with at least one")
    classes = {count for _, _, count in network.heads}
    if len(classes) != 1:
        raise InputError(f"{cfg} has [yolo] sections with {sorted(classes)} classes", "expected one number")
    names, names_file = _labels(cfg, labels, classes.pop())
    files = [cfg, weights] + ([names_file] if names_file else [])
    return SourceModel(
        name=cfg.stem,
        model=keras.Model(network.image, [tensor for tensor, _, _ in network.heads], name="darknet"),
        # Darknet feeds RGB in 0..1, stretched unless [net] says letter_box.
        input=InputSpec("image", width, height, "rgb", _resize(sections[0]), (1 / 255,), (0.0,)),
        decoder=DecoderSpec("yolo", tuple(head for _, head, _ in network.heads)),
        labels=Labels(names),
        source=Source("darknet", tuple(SourceFile(file.name, _sha256(file)) for file in files)),
    )


def _resize(net: Section) -> Literal["stretch", "letterbox"]:
    return "letterbox" if net.integer("letter_box", 0) else "stretch"


def _input_size(net: Section, given: tuple[int, int] | None) -> tuple[int, int]:
    if net.integer("channels", 3) != 3:
        raise InputError(f"{net.where('channels')} has channels={net.text('channels', '')}", "expected 3 (RGB)")
    if given:
        if max(given) > MAX_INPUT:
            seen = f"input size {given[0]}x{given[1]}"
            raise InputError(seen, f"expected at most {MAX_INPUT} pixels each way", "choose a smaller one")
        return given
    net.required("width")
    net.required("height")
    return net.integer("width", 0, low=1, high=MAX_INPUT), net.integer("height", 0, low=1, high=MAX_INPUT)


def _beside(cfg: Path) -> Path:
    weights = cfg.with_suffix(".weights")
    if not weights.exists():
        raise InputError(f"{cfg} comes without weights", f"expected {weights.name} beside it", "give --weights FILE")
    return weights


def _labels(cfg: Path, labels: Path | None, classes: int) -> tuple[tuple[str, ...], Path | None]:
    if labels is not None:
        names = read_names(labels)
        if len(names) != classes:
            raise InputError(
                f"{labels} has {len(names)} names", f"expected {classes}, as many as {cfg.name} has classes"
            )
        return names, labels
    for candidate in (found := sorted(cfg.parent.glob("*.names"))):
        if len(found) == 1 and len(names := read_names(candidate)) == classes:
            return names, candidate
    return tuple(f"class {index}" for index in range(classes)), None


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


__all__ = ["Network", "load"]
