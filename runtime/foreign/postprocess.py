"""Files that end in ``TFLite_Detection_PostProcess``: TensorFlow's object detection networks, EfficientDet-Lite."""

from __future__ import annotations

from runtime.card import DecoderSpec, Kind, Labels, OutputBinding, Thresholds
from runtime.errors import InputError
from runtime.foreign.flatbuffer import DamagedError
from runtime.foreign.flexbuffer import read_map
from runtime.foreign.graph import POSTPROCESS, Op
from runtime.foreign.layout import Layout, Seen
from runtime.foreign.names import fit_object_names, numbered, wrong_count
from runtime.foreign.picture import MINUS_ONE_TO_ONE, Fitting

# The op's outputs in its own order. Files list them in any order and under any name.
_KINDS: tuple[Kind, ...] = ("box", "class", "score", "count")
_MAX_CLASSES = 100_000


def recognise(seen: Seen) -> Layout | None:
    """Boxes, classes, scores and their number, already suppressed.

    Raises:
        InputError: The op is there but its outputs are not the file's, or the label file does not fit.
    """
    op = next((op for op in seen.graph.ops if op.name == POSTPROCESS), None)
    if op is None:
        return None
    if len(op.outputs) != len(_KINDS) or set(op.outputs) != set(seen.graph.outputs):
        raise InputError(
            f"{seen.path} has {POSTPROCESS} inside but other outputs",
            "expected its four outputs and no others",
            "export the model with these alone",
        )
    names = [seen.graph.tensors[index].name for index in op.outputs]
    found = {spec.name: spec for spec in seen.engine.outputs}
    slots = found[names[0]].shape[1] if names[0] in found and len(found[names[0]].shape) == 3 else 0
    labels = _labels(seen, _options(op, seen))
    return Layout(
        task="detect",
        outputs=tuple(OutputBinding(name, kind) for name, kind in zip(names, _KINDS, strict=True)),
        decoder=DecoderSpec("postprocess"),
        labels=labels,
        fitting=Fitting(MINUS_ONE_TO_ONE, "stretch"),
        # The op has suppressed already; what it kept stays.
        thresholds=Thresholds(iou=1.0, max_detections=max(1, min(10_000, slots))),
    )


def _options(op: Op, seen: Seen) -> int:
    """How many classes the op tells apart, background not counted."""
    try:
        classes = int(read_map(op.options).get("num_classes", 0))
    except (DamagedError, ValueError, OverflowError):
        classes = 0
    if not 0 < classes <= _MAX_CLASSES:
        raise InputError(
            f"{seen.path} has {POSTPROCESS} without a number of classes",
            "expected a complete model",
            "copy the file again, or export it again",
        )
    return classes


def _labels(seen: Seen, classes: int) -> Labels:
    labels = fit_object_names(seen.names, classes)
    if labels is None and seen.labels_file:
        raise wrong_count(str(seen.labels_file), seen.names, classes)
    return labels or Labels(numbered(classes))
