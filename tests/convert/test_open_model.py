"""Everything that can be measured opens through one door."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from convert.evaluate.models import open_classifier, open_detector, open_float, open_model
from convert.importers import keras_file
from convert.recipe import load_recipe
from runtime.classifier import Classifier
from runtime.detector import Detector
from runtime.errors import InputError
from runtime.frame import Frame
from tests.foreign_nets import ForeignNet


@pytest.fixture
def names(tmp_path: Path) -> Path:
    path = tmp_path / "names.txt"
    path.write_text("eins\nzwei\ndrei\n")
    return path


def test_model_file_and_its_float_network_see_alike(tiny_model: Path, tiny_cfg: Path, frame: Frame) -> None:
    small, wide = open_detector(tiny_model), open_detector(tiny_cfg)
    assert wide.executor.outputs[0].dtype == np.float32
    small.score = wide.score = 0.05
    ours, theirs = small.detect(frame), wide.detect(frame)
    assert len(ours) > 0
    assert abs(len(ours) - len(theirs)) <= max(3, len(theirs) // 4)


def test_labels(tiny_model: Path, tiny_cfg: Path, names: Path) -> None:
    for path in (tiny_model, tiny_cfg):
        assert open_detector(path, names).labels == ("eins", "zwei", "drei")


def test_a_label_file_that_fits_only_the_model_is_not_the_references(tiny_model: Path, tmp_path: Path) -> None:
    two = tmp_path / "two.txt"
    two.write_text("one\ntwo\n")
    with pytest.raises(InputError, match=r"two\.txt has 2 names"):
        open_model(tiny_model, two)
    card = open_detector(tiny_model).card
    assert open_detector(tiny_model, two, like=card).labels == ("wren", "robin", "finch")


def test_float_network_takes_over_size_but_not_numbers(tiny_model: Path, tiny_cfg: Path) -> None:
    card = open_detector(tiny_model).card
    like = dataclasses.replace(
        card, input=dataclasses.replace(card.input, width=96, height=64, resize="letterbox", scale=(1.0,))
    )
    spec = open_detector(tiny_cfg, like=like).card.input
    assert (spec.width, spec.height, spec.resize, spec.scale) == (96, 64, "letterbox", (1 / 255,))
    foreign = dataclasses.replace(like, decoder=dataclasses.replace(card.decoder, name="yolov8", heads=()))
    spec = open_detector(tiny_cfg, like=foreign).card.input
    assert (spec.width, spec.height, spec.resize) == (64, 64, "stretch")


def test_pruned_network_is_a_reference_at_its_own_size(tiny_model: Path, tiny_cfg: Path, tmp_path: Path) -> None:
    source = open_float(tiny_cfg)
    keras_file.save(tmp_path / "net.keras", source.model, source)
    spec = open_detector(tmp_path / "net.keras", like=open_detector(tiny_model).card).card.input
    assert (spec.width, spec.height) == (64, 64)


def test_foreign_files(tmp_path: Path) -> None:
    net = ForeignNet((32, 32))
    net.output("scores", np.zeros((1, 3), np.float32))
    path = net.write(tmp_path / "net.tflite")
    assert isinstance(open_model(path), Classifier)
    with pytest.raises(InputError, match="is a classifier; expected a detector"):
        open_detector(path)


def test_trained_recipe_by_name() -> None:
    detector = open_model(Path("playing-cards"))
    assert isinstance(detector, Detector)
    assert detector.labels == load_recipe("playing-cards").source.labels
    assert detector.executor.outputs[0].dtype == np.float32
    assert detector.card.input.width == load_recipe("playing-cards").source.network.size  # type: ignore[union-attr]
    with pytest.raises(InputError, match="is a detector; expected a classifier"):
        open_classifier(Path("playing-cards"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", "no recipe 'nothing'"),
        ("missing.toml", "missing.toml: no such file"),
        ("yolo-fastest-1.1", "is darknet; expected one whose network is trained here"),
        ("model.onnx", "model.onnx is not a network this version reads"),
        ("missing.tflite", "missing.tflite: no such file"),
        ("objects", "objects has no weights"),
    ],
)
def test_refused(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_model(Path(name))
