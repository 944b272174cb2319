"""Standard TFLite metadata: the ``TFLITE_METADATA`` flatbuffer that MediaPipe and Netron read.

Only the tables a vision model needs are written, straight from the published schema (``metadata_schema.fbs`` 1.5,
https://github.com/google-ai-edge/mediapipe/blob/master/mediapipe/tasks/metadata/metadata_schema.fbs); the numbers are
field positions in it. The package that generates these tables exists for old Pythons only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import flatbuffers

from runtime.card import ModelCard

LABELS_FILE = "labels.txt"
_IDENTIFIER = b"M001"
# Every field used here exists since the first published schema.
_MIN_PARSER_VERSION = "1.0.0"

_DESCRIPTIONS_FILE, _VALUE_LABELS_FILE = 1, 3
_IMAGE_PROPERTIES, _FEATURE_PROPERTIES = 2, 1
_NORMALIZATION_OPTIONS = 1
_RGB, _UNKNOWN_COLORS = 1, 0


@dataclass(frozen=True)
class _Byte:
    """An enum or union type field."""

    value: int


class _Table(dict[int, Any]):
    """A flatbuffer table: field position to text, byte, table, or list of texts, numbers or tables."""


def metadata_buffer(card: ModelCard, outputs: Sequence[str], input_range: tuple[float, float]) -> bytes:
    """The metadata flatbuffer of a model.

    Args:
        card: The model's card.
        outputs: Names of the output tensors in the file's order.
        input_range: Smallest and largest real value of the input.
    """
    kinds = {output.name: output.kind for output in card.outputs}
    labels = _associated_file(LABELS_FILE, "Class names, one per line.", _VALUE_LABELS_FILE)
    subgraph = _Table(
        {
            2: [_input(card, input_range)],
            3: [_output(name, kinds.get(name, "")) for name in outputs],
            4: [labels],
        }
    )
    root = _Table(
        {
            0: card.name,
            1: f"{card.task} with decoder {card.decoder.name}; how to read its outputs is in card.json",
            3: [subgraph],
            5: card.source.licence or "unknown",
            6: [_associated_file("card.json", "Edgewren model card.", _DESCRIPTIONS_FILE)],
            7: _MIN_PARSER_VERSION,
        }
    )
    builder = flatbuffers.Builder(1024)
    builder.Finish(_build(builder, root), _IDENTIFIER)
    return bytes(builder.Output())


def _input(card: ModelCard, input_range: tuple[float, float]) -> _Table:
    spec = card.input
    # Metadata normalises by (pixel - mean) / std, the card by pixel * scale + offset.
    pairs = [
        (spec.scale[i % len(spec.scale)], spec.offset[i % len(spec.offset)])
        for i in range(max(len(spec.scale), len(spec.offset)))
    ]
    normalization = _Table({0: [-offset / scale for scale, offset in pairs], 1: [1 / scale for scale, _ in pairs]})
    image = _Table({0: _Byte(_RGB if spec.color == "rgb" else _UNKNOWN_COLORS)})
    return _Table(
        {
            0: spec.name,
            1: f"{spec.width}x{spec.height} {spec.color} image, {spec.resize}",
            3: _Table({0: _Byte(_IMAGE_PROPERTIES), 1: image}),
            4: [_Table({0: _Byte(_NORMALIZATION_OPTIONS), 1: normalization})],
            5: _Table({0: [input_range[1]], 1: [input_range[0]]}),
        }
    )


def _output(name: str, kind: str) -> _Table:
    return _Table(
        {0: name, 1: f"raw {kind} logits" if kind else "", 3: _Table({0: _Byte(_FEATURE_PROPERTIES), 1: _Table()})}
    )


def _associated_file(name: str, description: str, kind: int) -> _Table:
    return _Table({0: name, 1: description, 2: _Byte(kind)})


def _build(builder: Any, table: _Table) -> int:
    """Writes a table after everything it refers to, as flatbuffers want it."""
    fields: dict[int, Any] = {slot: _build_value(builder, value) for slot, value in table.items()}
    builder.StartObject(max(table, default=-1) + 1)
    for slot, value in fields.items():
        if isinstance(value, _Byte):
            builder.PrependInt8Slot(slot, value.value, 0)
        else:
            builder.PrependUOffsetTRelativeSlot(slot, value, 0)
    offset: int = builder.EndObject()
    return offset


def _build_value(builder: Any, value: Any) -> Any:
    if isinstance(value, _Byte):
        return value
    if isinstance(value, _Table):
        return _build(builder, value)
    if isinstance(value, str):
        return builder.CreateString(value)
    if isinstance(value[0], float):
        builder.StartVector(4, len(value), 4)
        for number in reversed(value):
            builder.PrependFloat32(number)
        return builder.EndVector()
    offsets = [_build_value(builder, item) for item in value]
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()
