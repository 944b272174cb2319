"""Files from elsewhere, which have no card: one is made up from what can be seen in them.

A file is read in the first way of ``_LAYOUTS`` that fits. What was not told by the file but assumed stands in the
card, and every program says it.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from pathlib import Path

from runtime.card import ModelCard, Source
from runtime.engine import Engine, TensorSpec
from runtime.errors import InputError
from runtime.files import read_names
from runtime.foreign.graph import Graph
from runtime.foreign.layout import Layout, Seen
from runtime.foreign.metadata import read_metadata
from runtime.foreign.picture import input_spec

# One module each, asked in this order; those behind the one that fits are not even loaded.
_LAYOUTS = ("postprocess", "classifier", "onestage")
_OURS = "(Edgewren)"
_SHOWN = 6


def recognise(path: Path, engine: Engine, graph: Graph, labels_file: Path | None = None) -> ModelCard:
    """The card of a file without one.

    Args:
        path: The ``.tflite`` file.
        engine: The file in an interpreter; a layout may have to be tried out.
        graph: Its network.
        labels_file: Class names, one per line, instead of those in the file.

    Raises:
        InputError: Nothing this version knows, with what was seen; or a label file that does not fit.
    """
    if graph.description.endswith(_OURS):
        raise InputError(
            f"{path} has no card.json (its end is cut off)", "expected a whole model file", "rebuild the model"
        )
    metadata = read_metadata(path, graph.metadata)
    names = read_names(labels_file) if labels_file else metadata.labels
    _check_input(path, engine)
    seen = Seen(path, engine, graph, metadata, names, labels_file)
    layout = _layout(seen)
    spec, assumed = input_spec(seen.input, graph, metadata, layout.fitting)
    return ModelCard(
        name=path.name,
        task=layout.task,
        input=spec,
        outputs=layout.outputs,
        decoder=layout.decoder,
        labels=layout.labels,
        source=Source("tflite", licence=metadata.licence),
        thresholds=layout.thresholds,
        assumptions=(*layout.assumptions, *assumed),
    )


def _layout(seen: Seen) -> Layout:
    for name in _LAYOUTS:
        module = importlib.import_module(f"runtime.foreign.{name}")
        layout: Layout | None = module.recognise(seen)
        if layout:
            return layout
    raise InputError(
        f"{seen.path} has no card.json and is no layout this version knows: {_shown(seen.engine)}",
        "expected TFLite_Detection_PostProcess, one output (1, classes), (1, 4 + classes, N) or (1, N, 5 + classes)",
        "export the model again in one of these ways",
    )


def _check_input(path: Path, engine: Engine) -> None:
    """Refuses what is not one colour picture."""
    shape = engine.inputs[0].shape if len(engine.inputs) == 1 else ()
    if len(shape) != 4 or (shape[0], shape[3]) != (1, 3) or math.prod(shape) <= 0:
        raise InputError(
            f"{path} has no card.json and does not take one colour picture: {_shown(engine)}",
            "expected one input (1, height, width, 3)",
            "export the model again with such an input",
        )
    # Of what is open the interpreter makes a 1, and a picture of one pixel shows nothing.
    told = tuple(map(int, engine.interpreter.get_input_details()[0].get("shape_signature", shape)))
    if min(told[1:], default=1) < 0:
        raise InputError(
            f"{path} takes pictures of any size {told}",
            "expected one size (1, height, width, 3)",
            "export the model again with a fixed input size",
        )


def _shown(engine: Engine) -> str:
    return f"inputs {_tensors(engine.inputs)}; outputs {_tensors(engine.outputs)}".replace("; ", ", ")


def _tensors(specs: Sequence[TensorSpec]) -> str:
    texts = [f"'{spec.name[:60]}' {spec.dtype} {spec.shape}" for spec in specs[:_SHOWN]]
    return ", ".join(texts) + (f" and {len(specs) - _SHOWN} more" if len(specs) > _SHOWN else "")
