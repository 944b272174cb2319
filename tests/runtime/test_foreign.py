"""Files from elsewhere: what is recognised, what is assumed, what is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.card import ModelCard
from runtime.detector import Detector
from runtime.errors import InputError
from runtime.foreign.grid import anchors_per_cell
from runtime.opening import open_engine
from tests.conftest import needs_shared, picture
from tests.foreign_nets import ForeignNet, flex_map, grid_rows

SIZE = (64, 64)
CELLS = 8 * 8 + 4 * 4 + 2 * 2
NAMES = "wren\nrobin\nfinch\n"

Make = Callable[[ForeignNet], object]


def names_of(rows: Sequence[tuple[Any, ...]]) -> list[str]:
    return [row[0] for row in rows]


def card_of(net: ForeignNet, folder: Path, labels: str | None = None) -> ModelCard:
    names = None
    if labels is not None:
        names = folder / "labels.txt"
        names.write_text(labels)
    return open_engine(net.write(folder / "net.tflite"), 1, names)[0]


def scores(net: ForeignNet, count: int = 3, dtype: Any = np.float32, scale: float = 0.0, zero_point: int = 0) -> None:
    net.output("scores", np.zeros((1, count), dtype), scale, zero_point)


def zeros(net: ForeignNet, *shape: int) -> None:
    net.output("out", np.zeros(shape, np.float32))


def two_outputs(net: ForeignNet) -> None:
    scores(net)
    zeros(net, 1, 4)


def v8(net: ForeignNet, classes: int = 3, unit: float = 1 / 64) -> None:
    net.output("out", np.ascontiguousarray(grid_rows(SIZE, classes, objectness=False, unit=unit).T[None]))


def v8_transposed(net: ForeignNet) -> None:
    net.output("out", grid_rows(SIZE, 3, objectness=False, unit=1 / 64)[None])


def v5(net: ForeignNet) -> None:
    net.output("out", grid_rows(SIZE, 3, objectness=True, anchors=3, unit=1 / 64)[None])


def yolox(net: ForeignNet) -> None:
    net.output("out", grid_rows(SIZE, 3, objectness=True)[None])


def postprocess(net: ForeignNet, order: tuple[int, ...] = (0, 1, 2, 3), classes: int = 3) -> None:
    """The custom op over two anchors: one finch, one wren."""
    encoded = net.constant("encoded", np.zeros((1, 2, 4), np.float32))
    raw = np.zeros((1, 2, classes + 1), np.float32)
    raw[0, 0, 3], raw[0, 1, 1] = 0.9, 0.6
    anchors = np.array([[0.25, 0.5, 0.5, 0.2], [0.75, 0.25, 0.25, 0.5]], np.float32)
    shapes = ((1, 4, 4), (1, 4), (1, 4), (1,))
    outputs = [net.tensor(f"out{i}", shape) for i, shape in enumerate(shapes)]
    options = {
        "max_detections": 4,
        "max_classes_per_detection": 1,
        "num_classes": classes,
        "use_regular_nms": False,
        "nms_score_threshold": 1e-8,
        "nms_iou_threshold": 0.6,
        "x_scale": 10.0,
        "y_scale": 10.0,
        "h_scale": 5.0,
        "w_scale": 5.0,
    }
    inputs = [encoded, net.constant("raw", raw), net.constant("anchors", anchors)]
    net.op("TFLite_Detection_PostProcess", inputs, outputs, custom=flex_map(options))
    net.graph.outputs = [outputs[i] for i in order]


LAYOUTS: list[tuple[str, Make, str | None, tuple[Any, ...]]] = [
    # What, how, label file; then task, decoder, units, resize, colour, real range, number of labels.
    ("v8", v8, None, ("detect", "yolov8", "fractions", "letterbox", "rgb", (0, 1), 3)),
    ("v8 in pixels", lambda n: v8(n, unit=1), None, ("detect", "yolov8", "pixels", "letterbox", "rgb", (0, 1), 3)),
    ("v8, one class", lambda n: v8(n, 1), None, ("detect", "yolov8", "fractions", "letterbox", "rgb", (0, 1), 1)),
    ("transposed", v8_transposed, NAMES, ("detect", "yolov8", "fractions", "letterbox", "rgb", (0, 1), 3)),
    ("v5", v5, NAMES, ("detect", "yolov5", "fractions", "letterbox", "rgb", (0, 1), 3)),
    ("yolox", yolox, None, ("detect", "yolov5", "pixels", "letterbox", "bgr", (0, 255), 3)),
    ("yolox, named", yolox, NAMES, ("detect", "yolov5", "pixels", "letterbox", "bgr", (0, 255), 3)),
    ("post", postprocess, None, ("detect", "postprocess", "pixels", "stretch", "rgb", (-1, 1), 3)),
    ("post, named", postprocess, NAMES, ("detect", "postprocess", "pixels", "stretch", "rgb", (-1, 1), 3)),
    ("post, ???", postprocess, f"???\n{NAMES}", ("detect", "postprocess", "pixels", "stretch", "rgb", (-1, 1), 3)),
    ("classes", scores, NAMES, ("classify", "classes", "pixels", "crop", "rgb", (-1, 1), 3)),
]


@pytest.mark.parametrize(("make", "labels", "expected"), [row[1:] for row in LAYOUTS], ids=names_of(LAYOUTS))
def test_layouts(make: Make, labels: str | None, expected: tuple[Any, ...], tmp_path: Path) -> None:
    net = ForeignNet(SIZE)
    make(net)
    card = card_of(net, tmp_path, labels)
    spec, ends = card.input, [pixel * card.input.scale[0] + card.input.offset[0] for pixel in (0, 255)]
    assert (card.task, card.decoder.name, card.decoder.units) == expected[:3]
    assert (spec.resize, spec.color) == expected[3:5]
    assert ends == pytest.approx(expected[5])
    assert len(card.labels.names) == expected[6]
    assert spec.position == ("top-left" if expected[4] == "bgr" else "centre")
    assert (spec.width, spec.height) == SIZE
    if labels:
        assert card.labels.names[-1] == "finch"
    else:
        assert card.labels.names[-1] == f"class {expected[6] - 1}"
    assert any("pixels as" in text for text in card.assumptions)
    ModelCard.from_json(card.to_json())


REFUSED: list[tuple[str, ForeignNet, Make, str | None, str]] = [
    ("grey", ForeignNet(shape=(1, 64, 64, 1)), scores, None, "'picture' float32 (1, 64, 64, 1), outputs 'scores'"),
    ("channels first", ForeignNet(shape=(1, 3, 64, 64)), scores, None, "expected one input (1, height, width, 3)"),
    ("batch", ForeignNet(shape=(2, 64, 64, 3)), scores, None, "does not take one colour picture"),
    ("one number", ForeignNet(), lambda n: scores(n, 1), None, "no layout this version knows"),
    ("two outputs", ForeignNet(), two_outputs, None, "'out' float32 (1, 4)"),
    ("no grid", ForeignNet(), lambda n: zeros(n, 1, 90, 90), None, "'out' float32 (1, 90, 90)"),
    ("int32", ForeignNet(dtype=np.int32), scores, NAMES, "input tensor 'picture' is int32"),
    ("names", ForeignNet(), scores, "a\n", "labels.txt has 1 names; the model has 3 classes"),
    ("names of v8", ForeignNet(), v8, "a\n", "labels.txt has 1 names; the model has 3 classes"),
    ("names of post", ForeignNet(), postprocess, "a\n", "labels.txt has 1 names; the model has 3 classes"),
    ("raw heads", ForeignNet(), lambda n: zeros(n, 1, 7, CELLS), None, "'centres' from 0"),
    ("logits", ForeignNet(), lambda n: n.output("o", _logits()), None, "'scores' from"),
]


def _logits() -> np.ndarray:
    rows = grid_rows(SIZE, 3, objectness=False).T[None].copy()
    rows[:, 4:] = np.linspace(-9, 3, CELLS)
    return rows


@pytest.mark.parametrize(("net", "make", "labels", "message"), [row[1:] for row in REFUSED], ids=names_of(REFUSED))
def test_refused_with_what_was_seen(
    net: ForeignNet, make: Make, labels: str | None, message: str, tmp_path: Path
) -> None:
    make(net)
    with pytest.raises(InputError) as caught:
        card_of(net, tmp_path, labels)
    assert message in caught.value.line()


@pytest.mark.parametrize(
    ("name", "text", "names"),
    [
        ("metadata.json", '{"task": "detect", "names": {"0": "wren", "1": "robin", "2": "finch"}}', True),
        ("temp_meta.txt", "{'task': 'detect', 'names': {0: 'wren', 1: 'robin', 2: 'finch'}}", True),
        ("meta.txt", "{'stride': 32, 'names': ['wren', 'robin', 'finch']}", True),
        ("meta.txt", "{'names': {0: 'wren', 2: 'robin'}}", False),
        ("meta.txt", "{'names': {'x': 'wren'}}", False),
        ("meta.txt", "__import__('os').getcwd()", False),
        ("meta.txt", "(" * 5000, False),
        ("metadata.json", "[" * 100_000, False),
    ],
)
def test_ultralytics_metadata(name: str, text: str, names: bool, tmp_path: Path) -> None:
    net = ForeignNet(SIZE)
    v8(net)
    net.members[name] = text
    card = card_of(net, tmp_path)
    assert card.labels.names == (("wren", "robin", "finch") if names else ("class 0", "class 1", "class 2"))
    if names:
        assert card.assumptions == ()


@pytest.mark.parametrize("dequantized", [False, True])
@pytest.mark.parametrize(("largest", "message"), [(640, "steps of 2.51, of which few or none are left"), (100, "")])
def test_of_pixels_and_scores_in_one_coarse_tensor_is_told(
    largest: float, message: str, dequantized: bool, tmp_path: Path
) -> None:
    """As ONNX converters quantise a decoded output: every score is 0, and nothing would ever be found."""
    net, scale = ForeignNet((640, 640) if message else SIZE), np.float32(largest / 255)
    rows = grid_rows((640, 640) if message else SIZE, 3, objectness=False).T[None].copy()
    rows[0, 4, 5] = 0.9
    stored = np.clip(np.rint(rows / scale) - 128, -128, 127).astype(np.int8)
    assert ((stored[0, 4:] == -128).all()) == bool(message)
    net.output("out", stored, float(scale), -128)
    if dequantized:
        real = net.tensor("real", stored.shape)
        net.op("DEQUANTIZE", [net.graph.outputs.pop()], [real])
        net.graph.outputs.append(real)
    card = card_of(net, tmp_path)
    assert card.decoder.name == "yolov8"
    told = [text for text in card.assumptions if "steps of" in text]
    assert [message in text for text in told] == ([True] if message else [])


def test_a_name_of_half_a_character_can_be_printed(tmp_path: Path) -> None:
    net = ForeignNet(SIZE)
    v8(net)
    net.members["metadata.json"] = '{"task": "detect", "names": {"0": "\\ud800", "1": "robin", "2": "finch"}}'
    assert card_of(net, tmp_path).labels.names == ("?", "robin", "finch")


def test_other_ultralytics_tasks_are_refused(tmp_path: Path) -> None:
    net = ForeignNet(SIZE)
    v8(net)
    net.members["metadata.json"] = '{"task": "pose", "names": {"0": "person"}}'
    with pytest.raises(InputError, match="for task 'pose'; expected detect or classify"):
        card_of(net, tmp_path)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (2, 0, 3, 1), (3, 2, 1, 0)])
def test_postprocess_in_any_order_of_outputs(order: tuple[int, ...], tmp_path: Path) -> None:
    """The op's own order counts; TensorFlow 2 exports list the outputs otherwise."""
    net = ForeignNet(SIZE)
    postprocess(net, order)
    path = net.write(tmp_path / "post.tflite")
    (tmp_path / "names.txt").write_text(f"unlabeled\n{NAMES}")
    with Detector.open(path, 1, labels=tmp_path / "names.txt") as detector:
        found = detector.detect(picture(1, 200, 100))
    assert [detector.labels[k] for k in found.class_ids] == ["finch", "wren"]
    assert found.scores.tolist() == pytest.approx([0.9, 0.6])
    # Anchors are centre y, centre x, height, width of the whole.
    np.testing.assert_allclose(found.boxes, [[80.0, 0, 120, 50], [0, 62.5, 100, 87.5]], atol=1e-3)


def test_boxes_of_a_top_left_letterbox(tmp_path: Path) -> None:
    """A 128x64 picture fills the upper half of a 64x64 input at half its size."""
    rows = grid_rows(SIZE, 3, objectness=True)
    rows[10, 4:] = 0.9, 0.1, 0.2, 1.0
    net = ForeignNet(SIZE)
    net.output("out", rows[None])
    with Detector.open(net.write(tmp_path / "x.tflite"), 1, score=0.5) as detector:
        found = detector.detect(picture(1, 128, 64))
    assert (found.class_ids.tolist(), found.scores.tolist()) == ([2], pytest.approx([0.9]))
    x, y, w, h = (2 * rows[10, :4]).tolist()
    assert found.boxes.tolist() == [pytest.approx([x - w / 2, y - h / 2, x + w / 2, min(64, y + h / 2)], abs=1e-3)]


@pytest.mark.parametrize(
    ("candidates", "size", "anchors"),
    [
        (8400, (640, 640), 1),
        (25200, (640, 640), 3),
        (3549, (416, 416), 1),
        (10647, (416, 416), 3),
        (2100, (320, 320), 1),
        (34000, (640, 640), 1),  # with stride 4
        (8500, (640, 640), 1),  # with stride 64
        (2535, (416, 416), 3),  # YOLOv3-tiny: strides 16 and 32
        (6300, (640, 480), 1),
        (84, (640, 640), None),
        (8401, (640, 640), None),
        (300, (640, 640), None),
    ],
)
def test_grid(candidates: int, size: tuple[int, int], anchors: int | None) -> None:
    assert anchors_per_cell(candidates, *size) == anchors


@needs_shared
def test_unknown_layout_of_a_real_file(shared: Path) -> None:
    path = shared / "zoo" / "ultraface-rfb-320" / "version-RFB-320_without_postprocessing.tflite"
    with pytest.raises(InputError) as caught:
        Detector.open(path)
    assert "inputs 'input_1' float32 (1, 240, 320, 3), outputs 'Identity' float32 (1, 1, 4)" in caught.value.line()
