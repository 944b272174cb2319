"""The model card: everything the device must know about a model file, stored inside it as ``card.json``.

The card replaces convention. How to resize, which colour order, which tensor holds boxes, where class 0 is: each is a
field here, written at conversion and obeyed by calibration, evaluation and the device alike. ``docs/model-file.md``
describes the fields for people who write such files with other tools.
"""

from __future__ import annotations

import json
from dataclasses import field
from typing import Any, Literal

from runtime.errors import InputError
from runtime.schema import decode, encode
from runtime.values import value

SCHEMA_VERSION = 1
CARD_FILE = "card.json"

Color = Literal["rgb", "bgr"]
Kind = Literal["box", "objectness", "class", "score", "count", "prediction"]


@value
class InputSpec:
    """How an image becomes the input tensor.

    Attributes:
        name: Name of the input tensor.
        width, height: Size of the tensor in pixels.
        color: Channel order the network was trained on.
        resize: ``stretch`` fills the tensor and changes the aspect ratio; ``letterbox`` keeps it and adds borders;
            ``crop`` keeps it and cuts the picture's middle out.
        scale, offset: ``real = pixel * scale + offset`` with pixel in 0..255; one value, or one per channel in the
            order of ``color``.
        pad_value: Pixel value (0..255) of letterbox borders.
        position: Where ``letterbox`` puts the picture; with ``top-left`` all borders are right and below.
        crop: How much of the picture ``crop`` keeps along the side that limits it, above 0 up to 1.
    """

    name: str
    width: int
    height: int
    color: Color = "rgb"
    resize: Literal["stretch", "letterbox", "crop"] = "stretch"
    scale: tuple[float, ...] = (1 / 255,)
    offset: tuple[float, ...] = (0.0,)
    pad_value: int = 114
    position: Literal["centre", "top-left"] = "centre"
    crop: float = 1.0


@value
class OutputBinding:
    """Which tensor holds what. Tensors are bound by name, never by position.

    Attributes:
        name: Name of the output tensor.
        kind: ``box``, ``objectness``, ``class``; ``score`` and ``count`` of files that suppress inside the graph;
            ``prediction`` for boxes and scores in one tensor.
        head: Index into the decoder's heads; 0 where there are none.
    """

    name: str
    kind: Kind
    head: int = 0


@value
class HeadSpec:
    """One detection scale.

    Attributes:
        stride: Input pixels per grid cell.
        anchors: Width and height of each anchor in input pixels, in channel order.
        scale_xy: Darknet's ``scale_x_y``: stretches the centre's sigmoid around 0.5 (YOLOv4, section 3.4).
    """

    stride: int
    anchors: tuple[tuple[float, float], ...]
    scale_xy: float = 1.0


@value
class DecoderSpec:
    """How raw head tensors become boxes. ``runtime.decode`` holds one module per ``name``.

    Attributes:
        name: ``yolo``: YOLOv3 boxes, sigmoid of each class times sigmoid of an objectness; ``ssd``: offsets from
            anchors, and a score per class without objectness. Of files from elsewhere, which decode inside the graph:
            ``postprocess`` (TFLite_Detection_PostProcess), ``yolov8`` (box and class scores of each candidate),
            ``yolov5`` (the same with an objectness). ``classes``: one score per class of the whole picture.
        heads: One entry per scale, for ``yolo`` and ``ssd``.
        variances: ``ssd`` only: what box offsets are multiplied by, for the centre and for the logarithm of the size.
        activation: For ``ssd`` and ``classes``, what makes scores of the stored numbers: ``sigmoid`` for classes that
            are independent, ``softmax`` for classes that exclude each other (with ``ssd`` the first of them is the
            background), ``none`` where they are scores already (``classes`` only).
        units: ``yolov5`` and ``yolov8``: whether boxes are in pixels of the input or in fractions of its sides.
    """

    name: str
    heads: tuple[HeadSpec, ...] = ()
    variances: tuple[float, float] = (0.1, 0.2)
    activation: Literal["sigmoid", "softmax", "none"] = "sigmoid"
    units: Literal["pixels", "fractions"] = "pixels"


@value
class Labels:
    """Class names by class index. ``background`` says whether index 0 is "nothing" and never reported."""

    names: tuple[str, ...]
    background: bool = False


@value
class Thresholds:
    """Defaults for the device.

    Attributes:
        score: Lowest score reported, 0..1.
        iou: Overlap above which the worse of two boxes is dropped, 0..1.
        max_detections: Most boxes per image.
        class_agnostic: Whether boxes of different classes drop each other too: one thing, one box. Accuracy is always
            measured without it.
    """

    score: float = 0.25
    iou: float = 0.45
    max_detections: int = 100
    class_agnostic: bool = False


@value
class SourceFile:
    """One file the model was made from. ``url`` is empty for a file the user brought."""

    name: str
    sha256: str
    url: str = ""


@value
class Source:
    """Where the weights came from and under which licence.

    Attributes:
        format: ``darknet``, ``trained`` by this project, or ``tflite`` for a file from elsewhere without a card.
        files: What the network was read from.
        licence: Of the weights.
        homepage: Where their authors present them.
        provenance: What they were trained from, one line per ingredient with its licence.
    """

    format: str
    files: tuple[SourceFile, ...] = ()
    licence: str = ""
    homepage: str = ""
    provenance: tuple[str, ...] = ()


@value
class Quantization:
    """How the numbers were narrowed.

    Attributes:
        method: For example ``int8 post-training, min-max, per-channel weights``.
        calibration: Name of the calibration folder.
        calibration_images: How many images it held.
        calibration_sha256: Hash over the images' bytes in the order they were used.
    """

    method: str
    calibration: str
    calibration_images: int
    calibration_sha256: str


@value
class Pruning:
    """Channels removed: share of channels (0..1) and multiply-accumulates before and after."""

    ratio: float
    macs_before: int
    macs_after: int


@value
class Accuracy:
    """One measured row, in percent.

    ``agreement_f1`` compares int8 with float detections and needs no labels; the AP are ``None`` where there were none.
    """

    dataset: str
    images: int
    float_map50: float | None
    float_map50_95: float | None
    int8_map50: float | None
    int8_map50_95: float | None
    agreement_f1: float
    settings: str = ""


@value
class Delegation:
    """What XNNPACK took when the file was made (host interpreter named in ``ModelCard.tools``)."""

    delegated: int
    total: int
    partitions: int


@value
class Network:
    """The bytes in front of the archive, so that damage is found before an interpreter trips over it."""

    bytes: int
    sha256: str


@value
class ModelCard:
    """All of it. See the module docstring and ``docs/model-file.md``.

    ``assumptions`` is empty but for files from elsewhere: what was taken for granted because the file does not say.
    """

    name: str
    task: Literal["detect", "classify"]
    input: InputSpec
    outputs: tuple[OutputBinding, ...]
    decoder: DecoderSpec
    labels: Labels
    source: Source
    thresholds: Thresholds = field(default_factory=Thresholds)
    quantization: Quantization | None = None
    pruning: Pruning | None = None
    accuracy: tuple[Accuracy, ...] = ()
    delegation: Delegation | None = None
    macs: int | None = None
    network: Network | None = None
    build: str = ""
    tools: dict[str, str] = field(default_factory=dict)
    assumptions: tuple[str, ...] = ()
    schema_version: int = SCHEMA_VERSION

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, fields in declaration order."""
        plain: dict[str, Any] = encode(self)
        return plain

    def to_json(self) -> str:
        """The text of ``card.json``."""
        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, file: str = CARD_FILE) -> ModelCard:
        """Reads and checks a card.

        Raises:
            InputError: Not JSON, another schema version, a field that is missing, unknown or out of range.
        """
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{file} is not JSON ({error})", "expected the card convert wrote", _REBUILD) from None
        version = data.get("schema_version") if isinstance(data, dict) else None
        if version != SCHEMA_VERSION:
            raise InputError(
                f"{file} has schema_version {version!r}",
                f"this Edgewren reads version {SCHEMA_VERSION}",
                "rebuild the model, or install the Edgewren that made it",
            )
        card = decode(cls, data, f"{file}:")
        _check(card, file)
        return card


_REBUILD = "rebuild the model with python -m convert"


# Decoders of raw heads; all others read tensors that are decoded inside the graph, and have no heads.
_CLASSIFIER = "classes"
_WITHOUT_HEADS = ("postprocess", "yolov5", "yolov8", _CLASSIFIER)

_Test = tuple[bool, str, str]


def _check(card: ModelCard, file: str) -> None:
    """Refuses values that have the right type but cannot be obeyed."""
    for good, seen, expected in (*_input_tests(card.input), *_decoder_tests(card), *_output_tests(card)):
        if not good:
            raise InputError(f"{file}: {seen}", f"expected {expected}", _REBUILD)


def _input_tests(spec: InputSpec) -> list[_Test]:
    return [
        (0 < spec.width <= 8192 and 0 < spec.height <= 8192, f"input size {spec.width}x{spec.height}", "1..8192"),
        (len(spec.scale) in (1, 3) and len(spec.offset) in (1, 3), "input.scale or input.offset", "1 or 3 numbers"),
        (all(s != 0 for s in spec.scale), "input.scale is 0", "a non-zero number"),
        (0 <= spec.pad_value <= 255, f"input.pad_value {spec.pad_value}", "0..255"),
        (0 < spec.crop <= 1, f"input.crop {spec.crop}", "above 0, up to 1"),
    ]


def _decoder_tests(card: ModelCard) -> list[_Test]:
    decoder, labels = card.decoder, card.labels
    activation, softmax = decoder.activation, decoder.activation == "softmax"
    raw, classifier = decoder.name not in _WITHOUT_HEADS, decoder.name == _CLASSIFIER
    return [
        (bool(labels.names), "labels.names is empty", "one name per class"),
        (len(labels.names) > labels.background, "labels.names holds the background alone", "a class beside it"),
        ((card.task == "classify") == classifier, f"task {card.task} with decoder {decoder.name}", "one fitting task"),
        (bool(decoder.heads) == raw, _heads_seen(decoder), "one entry per scale of raw heads"),
        (all(h.stride > 0 and h.anchors for h in decoder.heads), "a head without stride or anchors", "both"),
        (all(0 < v <= 100 for v in decoder.variances), f"decoder.variances {decoder.variances}", "above 0, up to 100"),
        (not softmax or decoder.name != "yolo", "decoder.activation softmax with decoder yolo", "sigmoid"),
        (activation != "none" or classifier, f"decoder.activation none with decoder {decoder.name}", "sigmoid"),
        (
            labels.background == softmax or not raw,
            f"labels.background {str(labels.background).lower()} with decoder.activation {activation}",
            "true with softmax, false with sigmoid",
        ),
        (raw or classifier or not labels.background, f"labels.background with decoder {decoder.name}", "false"),
    ]


def _heads_seen(decoder: DecoderSpec) -> str:
    return f"decoder.heads of decoder {decoder.name}" if decoder.heads else "decoder.heads is empty"


def _output_tests(card: ModelCard) -> list[_Test]:
    thresholds, last = card.thresholds, max(1, len(card.decoder.heads))
    return [
        (all(0 <= o.head < last for o in card.outputs), "an output of an unknown head", "a head index"),
        (len({o.name for o in card.outputs}) == len(card.outputs), "two outputs of one name", "unique names"),
        (0 <= thresholds.score <= 1 and 0 <= thresholds.iou <= 1, "a threshold", "a number in 0..1"),
        (0 < thresholds.max_detections <= 10_000, "thresholds.max_detections", "1..10000"),
    ]
