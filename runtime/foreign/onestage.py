"""One-stage detectors that decode inside the graph: Ultralytics' exports and YOLOX.

| output | N = cells of the input's grids | N = 3 x cells |
| --- | --- | --- |
| (1, 4 + C, N) | Ultralytics v8 and later | - |
| (1, N, 5 + C) | YOLOX | Ultralytics v5 (and v7) |
| (1, N, 4 + C) | v8 and later, transposed by another exporter | - |

The last two kinds with N = cells look alike; the number of names decides, and without names YOLOX is assumed.
"""

from __future__ import annotations

from typing import Literal

from runtime.card import DecoderSpec, Labels, OutputBinding
from runtime.engine import TensorSpec
from runtime.errors import InputError
from runtime.foreign.grid import anchors_per_cell
from runtime.foreign.layout import Layout, Seen
from runtime.foreign.names import fit_object_names, numbered, wrong_count
from runtime.foreign.picture import PIXELS, ZERO_TO_ONE, Fitting
from runtime.foreign.probe import probe
from runtime.values import value

_ULTRALYTICS = Fitting(ZERO_TO_ONE, "letterbox")
_YOLOX = Fitting(PIXELS, "letterbox", color="bgr", position="top-left")
# A score between 0 and 1 is lost where numbers are stored in larger steps than this.
_LARGEST_STEP = 0.5
_YOLOX_ASSUMED = "this is YOLOX (one candidate per cell, with an objectness): picture at the top left"


@value
class _Shape:
    """How an output may be read: fields per candidate, of which so many before the classes, and their axis."""

    decoder: Literal["yolov5", "yolov8"]
    fields: int
    axis: int
    fitting: Fitting
    assumed: tuple[str, ...] = ()

    @property
    def classes(self) -> int:
        return self.fields - (5 if self.decoder == "yolov5" else 4)


def recognise(seen: Seen) -> Layout | None:
    """One output of one of the shapes in the module's table.

    Raises:
        InputError: The task is another one, the label file does not fit, or the numbers of a trial run are no boxes.
    """
    if seen.metadata.task not in ("", "detect", "classify"):
        raise InputError(
            f"{seen.path} is an Ultralytics model for task '{seen.metadata.task}'",
            "expected detect or classify",
            "export a detection model",
        )
    if len(seen.engine.outputs) != 1 or len(seen.engine.outputs[0].shape) != 3:
        return None
    (output,) = seen.engine.outputs
    shapes = [shape for shape in _shapes(output.shape, seen.size) if shape.classes > 0]
    if not shapes:
        return None
    shape, labels = _choose(shapes, seen)
    units = probe(seen, output, shape.axis, scores_from=shape.fields - shape.classes)
    return Layout(
        task="detect",
        outputs=(OutputBinding(output.name, "prediction"),),
        decoder=DecoderSpec(shape.decoder, units=units),
        labels=labels,
        fitting=shape.fitting,
        assumptions=(*shape.assumed, *_coarse(seen, output)),
    )


def _coarse(seen: Seen, output: TensorSpec) -> tuple[str, ...]:
    """What to say of boxes in pixels and scores in one 8-bit tensor: at 640 pixels its steps are 2.5, all scores 0."""
    maker = seen.graph.maker(seen.graph.outputs[0])
    step = output.scale
    if maker is not None and maker.name == "DEQUANTIZE" and maker.inputs:
        step = seen.graph.tensors[maker.inputs[0]].scale
    if step <= _LARGEST_STEP:
        return ()
    advice = "export it with boxes as fractions of the input's sides, or without quantising its output"
    return (f"scores in a tensor with steps of {step:.3g}, of which few or none are left (nothing found? {advice})",)


def _shapes(shape: tuple[int, ...], size: tuple[int, int]) -> list[_Shape]:
    """The readings that fit the grid, likeliest first."""
    batch, first, last = shape
    if batch != 1:
        return []
    found = []
    if anchors_per_cell(last, *size) == 1:
        found.append(_Shape("yolov8", first, 1, _ULTRALYTICS))
    anchors = anchors_per_cell(first, *size)
    if anchors == 3:
        found.append(_Shape("yolov5", last, 2, _ULTRALYTICS))
    if anchors == 1:
        found.append(_Shape("yolov5", last, 2, _YOLOX, (_YOLOX_ASSUMED,)))
        found.append(_Shape("yolov8", last, 2, _ULTRALYTICS))
    return found


def _choose(shapes: list[_Shape], seen: Seen) -> tuple[_Shape, Labels]:
    """The reading whose number of classes is the number of names; without names, the likeliest."""
    for shape in shapes:
        if seen.names and (labels := fit_object_names(seen.names, shape.classes)):
            return shape, labels
    if seen.labels_file:
        raise wrong_count(str(seen.labels_file), seen.names, shapes[0].classes)
    return shapes[0], Labels(numbered(shapes[0].classes))
