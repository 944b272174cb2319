"""Plain classifiers: one picture in, one number per class out."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from runtime.card import DecoderSpec, Labels, OutputBinding
from runtime.engine import TensorSpec
from runtime.foreign.graph import Graph
from runtime.foreign.layout import Layout, Seen
from runtime.foreign.names import fit_names, numbered, without_names, wrong_count
from runtime.foreign.picture import MINUS_ONE_TO_ONE, ZERO_TO_ONE, Fitting

Activation = Literal["sigmoid", "softmax", "none"]

# Ops that only rewrite numbers, between the last op that makes them and the output.
_REWRITES = ("QUANTIZE", "DEQUANTIZE", "RESHAPE", "SQUEEZE", "CAST")
_SCORES = ("SOFTMAX", "LOGISTIC")
_PROBABILITY_SCALE = 1 / 256
# ImageNet networks are measured on the middle 7/8 of a picture; of others nothing is known.
_IMAGENET_SIZES = (1000, 1001)
_IMAGENET_CROP = 0.875


def recognise(seen: Seen) -> Layout | None:
    """One output of shape ``(1, N)``, or with more sides of 1, and N of at least 2.

    Raises:
        InputError: The label file does not fit.
    """
    if len(seen.engine.outputs) != 1:
        return None
    (output,) = seen.engine.outputs
    count = output.shape[-1] if output.shape else 0
    if count < 2 or len(output.shape) < 2 or math.prod(output.shape) != count:
        return None
    activation, assumed = _activation(output, seen.graph)
    labels, unnamed = _labels(seen, count)
    imagenet = count in _IMAGENET_SIZES and not seen.metadata.ultralytics
    fitting = Fitting(
        ZERO_TO_ONE if seen.metadata.ultralytics else MINUS_ONE_TO_ONE,
        "crop",
        crop=_IMAGENET_CROP if imagenet else 1.0,
    )
    return Layout(
        task="classify",
        outputs=(OutputBinding(output.name, "class"),),
        decoder=DecoderSpec("classes", activation=activation),
        labels=labels,
        fitting=fitting,
        assumptions=tuple(text for text in (assumed, unnamed) if text),
    )


def _activation(output: TensorSpec, graph: Graph) -> tuple[Activation, str]:
    """What makes scores of the outputs, and what was assumed about it."""
    op = graph.maker(graph.outputs[0])
    # Each step goes back by one op; a damaged file could lead in a circle.
    for _ in graph.ops:
        if op is None or op.name not in _REWRITES or not op.inputs:
            break
        op = graph.maker(op.inputs[0])
    if op is not None and op.name in _SCORES:
        return "none", ""
    if output.quantized and math.isclose(output.scale, _PROBABILITY_SCALE, rel_tol=1e-5):
        zero = {np.dtype(np.uint8): 0, np.dtype(np.int8): -128}.get(output.dtype)
        if output.zero_point == zero:
            return "none", ""
    return "softmax", "outputs are logits, because no SOFTMAX op makes them"


def _labels(seen: Seen, count: int) -> tuple[Labels, str]:
    if not seen.names:
        return without_names(count)
    labels = fit_names(seen.names, count)
    if labels is None and seen.labels_file:
        raise wrong_count(str(seen.labels_file), seen.names, count)
    if labels is None:
        return Labels(numbered(count)), f"classes have no names: its label file has {len(seen.names)}"
    if labels.background and len(seen.names) == count - 1:
        return labels, f"class 0 of {count} is the background, because the label file has one name fewer"
    return labels, ""
