"""The whole way from a float network to a measured model file."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest

from convert.cli import main as convert
from convert.conversion import convert as convert_network
from convert.data import read_dataset
from convert.evaluate.agreement import agreement_f1
from convert.evaluate.detection import predict
from convert.evaluate.keras_executor import KerasExecutor
from convert.importers import load_source
from convert.quantize.apart import convert_apart
from convert.quantize.calibration import MAX_IMAGES, load_calibration
from convert.quantize.child import LOG
from convert.quantize.heads import SplitModel, split_heads
from convert.quantize.ptq import DEFAULT
from convert.quantize.tflite import to_tflite
from runtime.card import InputSpec, OutputBinding
from runtime.decode.candidates import dequantize
from runtime.detector import Detector
from runtime.engine import Engine
from runtime.errors import InputError, RunError
from runtime.frame import Frame
from runtime.modelfile import require_card
from runtime.preprocess import Preprocessor
from tests.conftest import picture, run_module
from tests.convert.test_darknet_oracle import LAYERS
from tests.nets import DarknetWriter
from tests.processes import descendants, read_process
from tests.waiting import until


def test_int8_follows_float(tiny_cfg: Path, tiny_model: Path) -> None:
    """Every head of the int8 file within a few steps of the float network, on a picture it was not calibrated on."""
    for name, noise in signal_to_noise(tiny_cfg, tiny_model).items():
        assert noise > 15, name


def signal_to_noise(cfg: Path, model: Path) -> dict[str, float]:
    """Decibels by output."""
    source = load_source(cfg)
    split = split_heads(source)
    float_net, int8_net = KerasExecutor(split, source.input), Engine(model)
    for executor in (float_net, int8_net):
        Preprocessor(source.input, executor.inputs[0]).write(Frame(picture(11)), executor.input_view())
        executor.invoke()
    found = {}
    names = [spec.name for spec in int8_net.outputs]
    for index, spec in enumerate(float_net.outputs):
        position = names.index(spec.name)
        mine = dequantize(int8_net.output_view(position).copy(), int8_net.outputs[position])
        expected = float_net.output_view(index)
        found[spec.name] = float(10 * np.log10(np.mean(expected**2) / np.mean((expected - mine) ** 2)))
    return found


# Left out of XNNPACK by necessity; everything else must be taken.
KNOWN_LEFT_OUT = {"activation mish": {"EXP", "LOG", "RELU"}, "maxpool 3 stride 2": {"MIRROR_PAD"}}


@pytest.mark.parametrize(
    "name", ["groups 2", "activation mish", "activation swish", "maxpool 3 stride 2", "route group 1", "join seven"]
)
def test_rare_layers_survive_int8(name: str, photos: Path, tmp_path: Path) -> None:
    net = DarknetWriter(32, 32, seed=1)
    net.conv(8, 3, stride=2)
    LAYERS[name](net)
    net.yolo(2)
    cfg = net.write(tmp_path)
    target = tmp_path / "net.tflite"
    assert convert(["quantize", str(cfg), "-o", str(target), "--calibration", str(photos)]) == 0
    assert min(signal_to_noise(cfg, target).values()) > 15
    from runtime.ops import list_ops

    left_out = {op.name for op in list_ops(Engine(target)).ops if not op.delegated}
    assert left_out == KNOWN_LEFT_OUT.get(name, set())


def test_card_tells_what_was_done(tiny_model: Path, tiny_cfg: Path, photos: Path) -> None:
    card = require_card(tiny_model)
    assert card.name == "tiny"
    assert card.quantization is not None
    assert card.quantization.method == DEFAULT.describe()
    assert card.quantization.calibration_images == 8
    assert card.quantization.calibration_sha256 == load_calibration(photos, card.input).sha256
    assert [file.name for file in card.source.files] == ["tiny.cfg", "tiny.weights", "tiny.names"]
    assert card.accuracy == ()
    assert {"tensorflow", "keras", "ai-edge-litert", "python"} <= set(card.tools)


def test_calibration_shows_the_whole_input_range(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((20, 20, 3), 128, np.uint8))
    samples = load_calibration(tmp_path, InputSpec("image", 16, 16)).samples
    assert (samples.min(), samples.max()) == (0, 1)
    assert np.isclose(samples, 128 / 255).sum() == samples.size - 6


def test_many_calibration_pictures_are_thinned_evenly(tmp_path: Path) -> None:
    for index in range(MAX_IMAGES + 10):
        cv2.imwrite(str(tmp_path / f"{index:04d}.png"), np.full((4, 4, 3), (index % 256, index // 256, 0), np.uint8))
    calibration = load_calibration(tmp_path, InputSpec("image", 4, 4))
    assert len(calibration.samples) == MAX_IMAGES
    assert calibration.report.unused == 10


def test_converter_that_crashes_is_an_error_line(tmp_path: Path) -> None:
    """int8 conversion of a rolled LSTM kills the process it runs in."""
    image = keras.Input((8, 8, 3), batch_size=1, name="image")
    x = keras.layers.LSTM(4, return_sequences=True)(keras.layers.Reshape((8, 24))(image))
    split = SplitModel(keras.Model(image, [x]), (OutputBinding("out", "class", 0),))
    with pytest.raises(RunError, match="TensorFlow's converter failed"):
        to_tflite(split, "image", samples=np.zeros((2, 8, 8, 3), np.float32))


@pytest.mark.parametrize("victim", ["the conversion", "the process that stays"])
def test_converter_that_is_killed_is_an_error_line_and_comes_back(tmp_path: Path, victim: str) -> None:
    """The kernel does that when memory is short."""
    image = keras.Input((8, 8, 3), batch_size=1, name="image")
    split = SplitModel(keras.Model(image, keras.layers.Conv2D(2, 3)(image)), (OutputBinding("out", "class", 0),))
    data = to_tflite(split, "image", "float32")
    pipe = tmp_path / "saved_model"
    pipe.mkdir()
    os.mkfifo(pipe / "saved_model.pb")
    failed: list[str] = []

    def convert_for_ever() -> None:
        with pytest.raises(RunError) as error:
            convert_apart(tmp_path, "float32")
        failed.append(str(error.value))

    waiting = threading.Thread(target=convert_for_ever)
    waiting.start()
    until(lambda: (tmp_path / LOG).exists(), "it does not begin", 60)
    server, conversion = (
        pid for pid in descendants(os.getpid()) if b"convert.quantize.child" in read_process(pid, "cmdline")
    )
    os.kill(conversion if victim == "the conversion" else server, signal.SIGKILL)
    waiting.join(60)
    until(lambda: not Path(f"/proc/{conversion}").exists(), "it goes on though nobody waits", 10)
    assert failed
    assert "killed by SIGKILL" in failed[0]
    assert to_tflite(split, "image", "float32") == data


def test_quantize_with_data_prints_and_records_both(
    labelled: Path, tiny_cfg: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "out.tflite"
    arguments = [
        "quantize",
        tiny_cfg,
        "-o",
        target,
        "--calibration",
        photos,
        "--data",
        labelled,
        "--input-size",
        "96x64",
    ]
    assert convert([*map(str, arguments), "--resize", "letterbox"]) == 0
    text = capsys.readouterr().out
    card = require_card(target)
    (row,) = card.accuracy
    assert (card.input.width, card.input.height, card.input.resize) == (96, 64, "letterbox")
    assert row.images == 8
    assert f"float  {row.float_map50:6.1f}" in text
    assert f"int8   {row.int8_map50:6.1f}" in text
    assert [path.name for path in tmp_path.iterdir()] == ["out.tflite"]


@pytest.mark.parametrize(
    ("names", "seen"),
    [
        ("wren robin finch owl", "set: 2 objects of 1 classes the model lacks do not count: owl (2)"),
        ("lark swift kite owl", "set has classes lark, swift, kite, owl; the model knows wren, robin, finch"),
    ],
)
def test_classes_the_network_lacks_are_told_before_the_work(
    names: str, seen: str, tiny_cfg: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def enough(*_: object) -> None:
        raise RunError("enough")

    monkeypatch.setattr("convert.conversion.load_calibration", enough)
    folder = tmp_path / "set"
    shutil.copytree(photos, folder)
    (folder / "classes.txt").write_text(names.replace(" ", "\n"))
    for path in sorted(folder.glob("*.png"))[:2]:
        path.with_suffix(".txt").write_text("3 0.5 0.5 0.4 0.4\n0 0.5 0.5 0.2 0.2\n")
    said: list[str] = []
    with pytest.raises((InputError, RunError)) as caught:
        convert_network(load_source(tiny_cfg), photos, tmp_path / "out.tflite", read_dataset(folder), said.append)
    assert seen in "\n".join([*said, str(caught.value)])
    assert said or "enough" not in str(caught.value)


def test_evaluate_float_next_to_int8(labelled: Path, tiny_cfg: Path, tiny_model: Path) -> None:
    done = run_module("convert", "evaluate", tiny_model, "--data", labelled, "--reference", tiny_cfg, "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    facts = json.loads(done.stdout)
    assert facts["images"] == 8
    assert facts["reference"]["map50"] > 50
    assert 0 < facts["map50"] <= 100
    assert facts["map50_95"] <= facts["map50"]
    assert facts["agreement_f1"] > 50


def test_evaluate_float_alone_for_people(
    labelled: Path, tiny_cfg: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert convert(["evaluate", str(tiny_cfg), "--data", str(labelled)]) == 0
    alone = capsys.readouterr().out
    assert convert(["evaluate", str(tiny_model), "--data", str(labelled), "--reference", str(tiny_cfg)]) == 0
    both = capsys.readouterr().out
    assert "8 images of" in alone
    figure = alone.split("tiny.cfg")[1].split()[0]
    assert f"reference tiny.cfg  {float(figure):6.1f}" in both
    assert "difference" in both
    assert "agreement F1" in both


def test_evaluation_leaves_the_detector_as_it_was(labelled: Path, tiny_model: Path) -> None:
    detector = Detector.open(tiny_model, score=0.4)
    calls: list[tuple[int, int]] = []
    progress: Callable[[int, int], None] = lambda done, total: calls.append((done, total))  # noqa: E731
    predictions = predict(detector, read_dataset(labelled), progress)
    assert (detector.score, detector.max_detections) == (0.4, 100)
    assert calls == [(index, 8) for index in range(1, 9)]
    assert agreement_f1(predictions, predictions) == 100
