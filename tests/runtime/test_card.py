"""The model card."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from runtime.card import (
    Accuracy,
    DecoderSpec,
    Delegation,
    HeadSpec,
    InputSpec,
    Labels,
    ModelCard,
    OutputBinding,
    Pruning,
    Quantization,
    Source,
    SourceFile,
)
from runtime.errors import InputError


def make_card(**changes: Any) -> ModelCard:
    """A complete, sensible card."""
    card = ModelCard(
        name="tiny",
        task="detect",
        input=InputSpec("image", 64, 48),
        outputs=(
            OutputBinding("box_16", "box", 0),
            OutputBinding("objectness_16", "objectness", 0),
            OutputBinding("class_16", "class", 0),
        ),
        decoder=DecoderSpec("yolo", (HeadSpec(16, ((10.0, 20.0), (30.5, 40.0)), 1.05),)),
        labels=Labels(("wren", "robin"), background=False),
        source=Source("darknet", (SourceFile("a.cfg", "0" * 64, "https://example.org/a.cfg"),), "MIT", "https://e.org"),
        quantization=Quantization("int8", "photos", 8, "1" * 64),
        pruning=Pruning(0.25, 200, 100),
        accuracy=(Accuracy("val", 64, 40.0, 20.0, 39.0, 19.5, 95.0, "settings"),),
        delegation=Delegation(10, 10, 1),
        macs=1000,
        tools={"numpy": "2"},
    )
    return dataclasses.replace(card, **changes)


def test_round_trip() -> None:
    card = make_card()
    assert ModelCard.from_json(card.to_json()) == card


def test_optional_parts_may_be_absent() -> None:
    card = make_card(quantization=None, pruning=None, accuracy=(), delegation=None, macs=None, tools={})
    data = {key: value for key, value in card.to_dict().items() if value not in (None, [], {})}
    assert ModelCard.from_json(json.dumps(data)) == card


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("schema_version", 2, "schema_version 2; this Edgewren reads version 1"),
        ("schema_version", None, "schema_version None"),
        ("task", "dance", "task is 'dance'"),
        ("input.width", 0, "input size 0x48"),
        ("input.width", 100_000, "input size 100000x48"),
        ("input.scale", [], "input.scale or input.offset"),
        ("input.scale", [0.0], "input.scale is 0"),
        ("input.pad_value", 300, "pad_value 300"),
        ("input.resize", "tile", "input.resize is 'tile'"),
        ("labels.names", [], "labels.names is empty"),
        ("labels.names", ["\ud800"], "labels.names[0] is '\\ud800'"),
        ("labels.background", "no", "labels.background is 'no'"),
        ("decoder.heads", [], "decoder.heads is empty"),
        ("decoder.heads", [{"stride": 0, "anchors": [[1, 2]]}], "a head without stride or anchors"),
        ("decoder.heads", [{"stride": 8, "anchors": [[1]]}], "anchors[0] is [1]"),
        ("decoder.variances", [0.1], "decoder.variances is [0.1]"),
        ("decoder.variances", [0.0, 0.2], "decoder.variances (0.0, 0.2)"),
        ("decoder.variances", [0.1, -0.2], "decoder.variances (0.1, -0.2)"),
        ("decoder.variances", [1e9, 0.2], "decoder.variances (1000000000.0, 0.2)"),
        ("decoder.activation", "relu", "decoder.activation is 'relu'"),
        ("decoder.activation", "softmax", "decoder.activation softmax with decoder yolo"),
        ("labels.background", True, "labels.background true with decoder.activation sigmoid"),
        ("outputs", [{"name": "x", "kind": "box", "head": 3}], "an output of an unknown head"),
        ("thresholds.score", 1.5, "a threshold"),
        ("thresholds.max_detections", 0, "max_detections"),
        ("colour", "red", "colour is not a known field"),
    ],
)
def test_wrong_card_is_refused_in_one_line(path: str, value: object, message: str) -> None:
    data = make_card().to_dict()
    place: Any = data
    *parents, last = path.split(".")
    for part in parents:
        place = place[part]
    place[last] = value
    with pytest.raises(InputError) as caught:
        ModelCard.from_json(json.dumps(data), "m.tflite card.json")
    assert message in str(caught.value)
    assert "\n" not in caught.value.line()


def test_decoder_fields_of_other_decoders_have_defaults() -> None:
    """Cards written before there was a choice."""
    card = make_card()
    data = card.to_dict()
    del data["decoder"]["variances"], data["decoder"]["activation"]
    assert ModelCard.from_json(json.dumps(data)) == card
    assert (card.decoder.variances, card.decoder.activation) == ((0.1, 0.2), "sigmoid")


@pytest.mark.parametrize(
    ("activation", "names", "background", "message"),
    [
        ("sigmoid", ("wren",), False, ""),
        ("softmax", ("none", "wren"), True, ""),
        ("softmax", ("none", "wren"), False, "labels.background false with decoder.activation softmax"),
        ("sigmoid", ("none", "wren"), True, "labels.background true with decoder.activation sigmoid"),
        ("softmax", ("none",), True, "labels.names holds the background alone"),
    ],
)
def test_background_belongs_to_softmax(activation: Any, names: tuple[str, ...], background: bool, message: str) -> None:
    decoder = DecoderSpec("ssd", (HeadSpec(16, ((10.0, 20.0),)),), (0.1, 0.25), activation)
    card = make_card(decoder=decoder, labels=Labels(names, background))
    if not message:
        assert ModelCard.from_json(card.to_json()) == card
        return
    with pytest.raises(InputError, match=message):
        ModelCard.from_json(card.to_json())


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, b"\xff\xfe"])
def test_not_a_card_at_all(text: str | bytes) -> None:
    with pytest.raises(InputError):
        ModelCard.from_json(text)
