"""Networks whose heads are separate convolutions: bound, equalised, evaluated and converted as they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from convert.cards import make_card
from convert.conversion import convert
from convert.evaluate.keras_executor import KerasExecutor
from convert.quantize.calibration import load_calibration
from convert.quantize.channels import channel_classes
from convert.quantize.equalise import equalise
from convert.quantize.fold import fold_norms
from convert.quantize.heads import SplitModel, split_heads
from convert.quantize.metadata import metadata_buffer
from convert.quantize.observe import observe
from convert.quantize.tensors import plan_tensors
from convert.source import SourceModel
from runtime.card import DecoderSpec, HeadSpec, InputSpec, Labels, OutputBinding, Source
from runtime.decode.candidates import dequantize
from runtime.detector import Detector
from runtime.errors import InputError
from runtime.frame import Frame
from runtime.modelfile import require_card
from tests.conftest import picture

LABELS = ("background", "wren", "robin")
HEADS = (HeadSpec(8, ((10.0, 12.0), (20.0, 14.0))), HeadSpec(16, ((30.0, 30.0),)))


def build(shared: bool = False) -> keras.Model:
    """A 60 x 44 input, two feature maps of 24 channels, a box and a class convolution on each."""
    layers = keras.layers
    keras.utils.set_random_seed(4)
    image = keras.Input((44, 60, 3), batch_size=1, name="image")
    x = layers.Conv2D(16, 3, strides=4, padding="same", activation=None, name="stem")(image)
    x = layers.ReLU(name="stem_relu")(x)
    fine = layers.ReLU()(layers.Conv2D(24, 3, strides=2, padding="same", name="fine")(x))
    coarse = layers.ReLU()(layers.Conv2D(24, 3, strides=2, padding="same", name="coarse")(fine))
    outputs = []
    tower = layers.Conv2D(24, 1, name="tower")
    for index, (feature, head) in enumerate(zip((fine, coarse), HEADS, strict=True)):
        feature = tower(feature) if shared else feature
        for kind, size in (("box", 4), ("class", len(LABELS))):
            outputs.append(layers.Conv2D(len(head.anchors) * size, 1, name=f"{kind}{index}")(feature))
    return keras.Model(image, outputs)


def make_source(**changes: Any) -> SourceModel:
    source = SourceModel(
        name="tiny-ssd",
        model=build(),
        input=InputSpec("image", 60, 44),
        decoder=DecoderSpec("ssd", HEADS, activation="softmax"),
        labels=Labels(LABELS, background=True),
        source=Source("made"),
    )
    return replace(source, **changes)


def run(model: keras.Model, image: np.ndarray) -> list[np.ndarray]:
    return [np.asarray(output) for output in model(image, training=False)]


def test_separate_heads_are_bound_as_they_are() -> None:
    source = make_source()
    split = split_heads(source)
    assert split.model is source.model
    assert split.bindings == (
        OutputBinding("box_8", "box", 0),
        OutputBinding("class_8", "class", 0),
        OutputBinding("box_16", "box", 1),
        OutputBinding("class_16", "class", 1),
    )


def test_equal_strides_are_told_apart() -> None:
    heads = (HEADS[0], replace(HEADS[1], stride=8))
    split = split_heads(make_source(decoder=DecoderSpec("ssd", heads, activation="softmax")))
    assert [binding.name for binding in split.bindings] == ["box_8_0", "class_8_0", "box_8_1", "class_8_1"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"labels": Labels(("a", "b"))},
            r"has outputs of 8, 6, 4, 3 channels; expected 8 \(box of head 0\), 4",
        ),
        ({"decoder": DecoderSpec("ssd", HEADS[:1])}, r"of 8, 6, 4, 3 channels; expected 8 \(box of head 0\), 6"),
        ({"decoder": DecoderSpec("telepathy", HEADS)}, "is for decoder 'telepathy'; expected one of ssd, yolo"),
    ],
)
def test_outputs_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        split_heads(make_source(**changes))
    caught.match(message)


@pytest.mark.parametrize("shared", [False, True])
def test_equalising_changes_no_output(shared: bool, photos: Path) -> None:
    """Feature maps are read by two heads and the next layer; a tower shared between scales becomes one for each."""
    source = make_source(model=build(shared))
    samples = load_calibration(photos, source.input).samples
    exact = fold_norms(split_heads(source).model)
    classes = channel_classes(exact)
    free = {layer.name for layer in exact.layers if not classes.frozen[classes.of[layer.name]].any()}
    assert {"stem", "fine", "coarse"} <= free
    assert ({"tower", "tower_2"} <= free) == shared
    plan = plan_tensors(exact)
    equalise(exact, plan, observe(exact, plan.inner, samples))
    weights = exact.get_layer("fine").get_weights()[0]
    assert not np.array_equal(weights, source.model.get_layer("fine").get_weights()[0])
    for mine, expected in zip(run(exact, samples[:1]), run(source.model, samples[:1]), strict=True):
        np.testing.assert_allclose(mine, expected, atol=1e-4 * np.ptp(expected))


def test_metadata_has_the_kinds_there_are() -> None:
    source = make_source()
    bindings = split_heads(source).bindings
    data = metadata_buffer(make_card(source, bindings), [binding.name for binding in bindings], (0.0, 1.0))
    assert data.count(b"raw box logits") == data.count(b"raw class logits") == 2
    assert b"objectness" not in data


def test_float_network_with_a_single_output() -> None:
    image = keras.Input((8, 8, 3), batch_size=1)
    model = keras.Model(image, [keras.layers.Conv2D(4, 1)(image)])
    executor = KerasExecutor(SplitModel(model, (OutputBinding("box", "box", 0),)), InputSpec("image", 8, 8))
    executor.invoke()
    assert executor.output_view(0).shape == executor.outputs[0].shape == (1, 8, 8, 4)


def test_converted_file_follows_the_float_network(photos: Path, tmp_path: Path) -> None:
    source = make_source()
    target = tmp_path / "ssd.tflite"
    convert(source, photos, target, None, lambda message: None)
    card = require_card(target)
    assert card.decoder == source.decoder
    assert card.labels == source.labels
    split = split_heads(source)
    frame = Frame(picture(11))
    with Detector.open(target, threads=1) as int8, Detector(card, KerasExecutor(split, card.input), score=0.0) as real:
        int8.score = 0.0
        assert set(int8.detect(frame).class_ids.tolist()) <= {1, 2}
        assert set(real.detect(frame).class_ids.tolist()) == {1, 2}
        names = [spec.name for spec in int8.executor.outputs]
        assert sorted(names) == sorted(binding.name for binding in split.bindings)
        for index, spec in enumerate(real.executor.outputs):
            position = names.index(spec.name)
            mine = dequantize(int8.executor.output_view(position).copy(), int8.executor.outputs[position])
            expected = real.executor.output_view(index)
            assert 10 * np.log10(np.mean(expected**2) / np.mean((expected - mine) ** 2)) > 15
