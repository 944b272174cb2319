"""Files from elsewhere: what follows from the file, and what is assumed and said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from runtime.errors import InputError
from tests.foreign_nets import ForeignNet, StandardMetadata
from tests.runtime.test_foreign import NAMES, Make, card_of, names_of, scores

NORMALISATIONS: list[tuple[str, dict[str, Any], Callable[[ForeignNet], object] | None, tuple[float, float], bool]] = [
    # Input tensor, what else is in the file, real range, whether it had to be assumed.
    ("uint8 1/128", {"dtype": np.uint8, "scale": 1 / 128, "zero_point": 128}, None, (-1, 127 / 128), False),
    ("uint8 1/255", {"dtype": np.uint8, "scale": 1 / 255, "zero_point": 0}, None, (0, 1), False),
    ("uint8 without scale", {"dtype": np.uint8}, None, (0, 255), False),
    ("int8 1/255", {"dtype": np.int8, "scale": 1 / 255, "zero_point": -128}, None, (0, 1), False),
    (
        "int8 told",
        {"dtype": np.int8, "scale": 2 / 255, "zero_point": 0},
        lambda n: n.set_metadata(StandardMetadata((127.5,), (127.5,)).buffer()),
        (-1, 1),
        False,
    ),
    ("float told", {}, lambda n: n.set_metadata(StandardMetadata((0.0,), (1.0,)).buffer()), (0, 255), False),
    ("zero std", {}, lambda n: n.set_metadata(StandardMetadata((0.0,), (0.0,)).buffer()), (-1, 1), True),
    ("damaged", {}, lambda n: n.set_metadata(b"\xff" * 64), (-1, 1), True),
    ("ultralytics", {}, lambda n: n.members.update({"metadata.json": '{"names": {"0": "a"}}'}), (0, 1), False),
    ("quantised first", {}, lambda n: _first(n, "QUANTIZE"), (-0.5, 0.5), False),
    ("divided", {}, lambda n: _first(n, "DIV", 127.5), (0, 255), True),
    ("multiplied", {}, lambda n: _first(n, "MUL", 1 / 255), (0, 255), True),
    ("mean of pixels", {}, lambda n: _first(n, "SUB", 103.9), (0, 255), True),
    ("mean of fractions", {}, lambda n: _first(n, "SUB", 0.485), (0, 1), True),
]


def _first(net: ForeignNet, kind: str, constant: float = 0.0) -> None:
    """An op on the picture, before everything else."""
    shape = net.graph.tensors[net.picture].shape
    if kind == "QUANTIZE":
        net.op(kind, [net.picture], [net.tensor("q", shape, np.int8, 1 / 255, 0)], schema.QuantizeOptionsT())
    else:
        options = getattr(schema, f"{kind.title()}OptionsT")()
        net.op(
            kind, [net.picture, net.constant("c", np.array([constant], np.float32))], [net.tensor("q", shape)], options
        )


@pytest.mark.parametrize(
    ("tensor", "extra", "ends", "assumed"), [row[1:] for row in NORMALISATIONS], ids=names_of(NORMALISATIONS)
)
def test_normalisation(
    tensor: dict[str, Any], extra: Make | None, ends: tuple[float, float], assumed: bool, tmp_path: Path
) -> None:
    net = ForeignNet(**tensor)
    if extra:
        extra(net)
    scores(net)
    card = card_of(net, tmp_path, NAMES)
    spec = card.input
    assert [pixel * spec.scale[0] + spec.offset[0] for pixel in (0, 255)] == pytest.approx(ends, abs=0.003)
    assert any("pixels as" in text for text in card.assumptions) == assumed


def test_normalisation_per_channel(tmp_path: Path) -> None:
    net = ForeignNet()
    net.set_metadata(StandardMetadata((123.0, 117.0, 104.0), (58.0,)).buffer())
    scores(net)
    spec = card_of(net, tmp_path).input
    assert spec.scale == pytest.approx([1 / 58] * 3)
    assert spec.offset == pytest.approx([-123 / 58, -117 / 58, -104 / 58])


ACTIVATIONS: list[tuple[str, dict[str, Any], str | None, str]] = [
    ("logits", {}, None, "softmax"),
    ("softmax", {}, "SOFTMAX", "none"),
    ("sigmoid", {}, "LOGISTIC", "none"),
    ("uint8 1/256", {"dtype": np.uint8, "scale": 1 / 256, "zero_point": 0}, None, "none"),
    ("int8 1/256", {"dtype": np.int8, "scale": 1 / 256, "zero_point": -128}, None, "none"),
    ("uint8 logits", {"dtype": np.uint8, "scale": 1 / 256, "zero_point": 60}, None, "softmax"),
    ("int8 logits", {"dtype": np.int8, "scale": 0.1, "zero_point": -128}, None, "softmax"),
]


@pytest.mark.parametrize(
    ("output", "last", "activation"), [row[1:] for row in ACTIVATIONS], ids=[r[0] for r in ACTIVATIONS]
)
def test_scores_or_logits(output: dict[str, Any], last: str | None, activation: str, tmp_path: Path) -> None:
    net = ForeignNet()
    scores(net, **output)
    if last:
        (before,) = net.graph.outputs
        made, after = net.tensor("made", (1, 3)), net.tensor("after", (1, 3))
        options = schema.SoftmaxOptionsT() if last == "SOFTMAX" else None
        if options:
            options.beta = 1.0
        net.op(last, [before], [made], options)
        net.op("RESHAPE", [made, net.constant("s", np.array([1, 3], np.int32))], [after])
        net.graph.outputs = [after]
    card = card_of(net, tmp_path, NAMES)
    assert card.decoder.activation == activation
    assert any("logits" in text for text in card.assumptions) == (activation == "softmax")


BACKGROUNDS: list[tuple[int, str | None, bool, str, str]] = [
    # Outputs, label file, background, the last name, what is said.
    (3, NAMES, False, "finch", ""),
    (3, "background\nwren\nrobin\n", True, "robin", ""),
    (4, NAMES, True, "finch", "class 0 of 4 is the background, because the label file has one name fewer"),
    (1001, None, True, "class 1000", "class 0 of 1001 is the background"),
    (1000, None, False, "class 999", "no class is the background"),
    (2, "none\nsome\n", False, "some", ""),
]


@pytest.mark.parametrize(("count", "labels", "background", "last", "said"), BACKGROUNDS)
def test_background(count: int, labels: str | None, background: bool, last: str, said: str, tmp_path: Path) -> None:
    net = ForeignNet()
    scores(net, count)
    card = card_of(net, tmp_path, labels)
    assert len(card.labels.names) == count
    assert (card.labels.background, card.labels.names[-1]) == (background, last)
    assert said in "; ".join(card.assumptions)
    assert card.input.crop == (0.875 if count >= 1000 else 1.0)


def test_labels_inside_the_file_and_the_users_instead(tmp_path: Path) -> None:
    net = ForeignNet()
    net.set_metadata(StandardMetadata((127.5,), (127.5,), labels="birds.txt").buffer())
    net.members["birds.txt"] = NAMES
    scores(net)
    card = card_of(net, tmp_path)
    assert card.labels.names == ("wren", "robin", "finch")
    assert card.source.licence == "MIT"
    assert card.assumptions == ("outputs are logits, because no SOFTMAX op makes them",)
    assert card_of(net, tmp_path, "eins\nzwei\ndrei\n").labels.names == ("eins", "zwei", "drei")


def test_label_file_of_another_length_inside_the_file_is_told(tmp_path: Path) -> None:
    net = ForeignNet()
    net.set_metadata(StandardMetadata(labels="birds.txt").buffer())
    net.members["birds.txt"] = "a\nb\nc\nd\ne\n"
    scores(net)
    card = card_of(net, tmp_path)
    assert card.labels.names == ("class 0", "class 1", "class 2")
    assert "classes have no names: its label file has 5" in card.assumptions


def test_a_picture_of_any_size_is_refused(tmp_path: Path) -> None:
    """The interpreter makes it one pixel."""
    net = ForeignNet((1, 1))
    net.graph.tensors[net.picture].shapeSignature = [-1, -1, -1, 3]
    scores(net)
    with pytest.raises(InputError, match=r"takes pictures of any size \(-1, -1, -1, 3\); expected one size .*; export"):
        card_of(net, tmp_path)


def test_any_number_of_pictures_is_one(tmp_path: Path) -> None:
    net = ForeignNet((32, 24))
    net.graph.tensors[net.picture].shapeSignature = [-1, 24, 32, 3]
    scores(net)
    assert (card_of(net, tmp_path).input.width, card_of(net, tmp_path).input.height) == (32, 24)
