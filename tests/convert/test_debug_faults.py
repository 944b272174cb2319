"""Planted faults: each is stopped by the gate and named by ``debug``."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from convert.cards import make_card
from convert.cli import main as convert
from convert.data import read_dataset
from convert.debug.normalisation import check_normalisation
from convert.debug.pictures import Pictures
from convert.debug.run import debug_source
from convert.importers import load_source
from convert.quantize.calibration import load_calibration
from convert.quantize.heads import split_heads
from convert.quantize.package import pack
from runtime.errors import BudgetError
from runtime.modelfile import require_card
from tests.convert.faults import keen_net, label_pictures, one_tensor_file, one_tensor_net, outlier_net

Output = pytest.CaptureFixture[str]


@pytest.fixture
def facts(capsys: Output) -> Callable[..., dict[str, Any]]:
    """Runs ``debug --json``."""

    def run(*arguments: object) -> dict[str, Any]:
        capsys.readouterr()
        assert convert(["debug", *map(str, arguments), "--json"]) == 0
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    return run


def kinds(found: dict[str, Any]) -> list[str]:
    return [finding["kind"] for finding in found["findings"]]


def gate(*arguments: object) -> BudgetError:
    """What stops a command with status 3."""
    with pytest.raises(BudgetError) as caught:
        convert([*map(str, arguments)])
    assert caught.value.exit_status == 3
    return caught.value


def test_boxes_and_scores_in_one_tensor(photos: Path, tmp_path: Path, facts: Callable[..., Any]) -> None:
    cfg = one_tensor_net(tmp_path)
    samples = load_calibration(photos, load_source(cfg).input).samples
    joined = one_tensor_file(cfg, samples, tmp_path / "joined.tflite")
    data = label_pictures(cfg, photos, tmp_path / "val")
    names = cfg.with_suffix(".names")
    compared = joined, "--labels", names, "--reference", cfg, "--data", data
    error = gate("evaluate", *compared, "--min-agreement", 90)
    assert "agreement F1 is" in str(error)
    found = facts(*compared)
    assert kinds(found)[0] == "concatenated outputs"
    assert "of 256 steps" in found["findings"][0]["seen"]
    assert found["agreement_f1"] < 90

    # The same network with its heads split by kind is fine.
    split = facts(cfg, "--data", data, "--calibration", photos)
    assert "concatenated outputs" not in kinds(split)
    assert split["agreement_f1"] > 90


@pytest.fixture(scope="module")
def keen(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A network that depends on its pictures, and pictures labelled by it."""
    folder = tmp_path_factory.mktemp("keen")
    cfg = keen_net(folder)
    return cfg, label_pictures(cfg, photos, folder / "val")


def test_wrong_normalisation(keen: tuple[Path, Path], photos: Path, tmp_path: Path, facts: Callable[..., Any]) -> None:
    cfg, data = keen
    good, bad = tmp_path / "good.tflite", tmp_path / "bad.tflite"
    assert convert([*map(str, ["quantize", cfg, "-o", good, "--calibration", photos])]) == 0
    card = require_card(good)
    wrong = dataclasses.replace(card, input=dataclasses.replace(card.input, scale=(1.0,)))
    bad.write_bytes(pack(good.read_bytes(), wrong))
    compared = "--reference", cfg, "--data", data
    assert convert([*map(str, ["evaluate", good, *compared, "--max-drop", 5, "--min-agreement", 90])]) == 0
    assert "AP50 is" in str(gate("evaluate", bad, *compared, "--max-drop", 5))
    assert "agreement F1 is" in str(gate("evaluate", bad, *compared, "--min-agreement", 90))
    found = facts(bad, *compared)
    (finding,) = (f for f in found["findings"] if f["kind"] == "normalisation")
    assert re.search(r"8 images: [0-9.]+ with 0..255, rgb, [0-9.]+ with 0..1, rgb", finding["seen"])
    assert finding["expected"].endswith("probably 0..1, rgb")
    assert "normalisation" not in kinds(facts(good, *compared))


def test_wrong_normalisation_of_a_float_network(keen: tuple[Path, Path], photos: Path) -> None:
    """Nothing is lost by int8 then, so that it has to be found by trying."""
    cfg, data = keen
    source = load_source(cfg)
    wrong = dataclasses.replace(source, input=dataclasses.replace(source.input, scale=(1.0,)))
    done = debug_source(wrong, photos, data, read_dataset(data), lambda _: None)
    (finding,) = (each for each in done.explanation.findings if each.kind == "normalisation")
    assert finding.expected.endswith("probably 0..1, rgb")


def quantize(cfg: Path, photos: Path, data: Path, *more: object) -> list[object]:
    return ["quantize", cfg, "-o", cfg.with_suffix(".tflite"), "--calibration", photos, "--data", data, *more]


def test_outlier_channel_where_equalisation_cannot_reach(
    photos: Path, tmp_path: Path, facts: Callable[..., Any]
) -> None:
    cfg = outlier_net(tmp_path, 100, grouped=True)
    data = label_pictures(cfg, photos, tmp_path / "val")
    gate(*quantize(cfg, photos, data, "--max-drop", 1))
    found = facts(cfg, "--data", data, "--calibration", photos)
    assert "outlier channel" in kinds(found)
    worst = {one["name"]: one for one in found["tensors"] if one["cause"] == "outlier channel"}
    assert set(worst) == {"conv_1", "leaky_1"}
    assert worst["conv_1"]["detail"].startswith("2 channels, such as ")


def test_outlier_channel_without_equalisation(photos: Path, tmp_path: Path, facts: Callable[..., Any]) -> None:
    cfg = outlier_net(tmp_path, 100, grouped=False)
    data = label_pictures(cfg, photos, tmp_path / "val")
    gate(*quantize(cfg, photos, data, "--min-agreement", 93, "--plain"))
    plain = facts(cfg, "--data", data, "--calibration", photos, "--plain")
    assert "outlier channel" in kinds(plain)
    worst = plain["tensors"][0]
    assert worst["cause"] == "outlier channel"
    assert worst["detail"].startswith("channel 5 is ")
    assert {worst["name"], *worst["restored"]["with_tensors"]} == {"conv_1", "leaky_1"}
    assert worst["restored"]["gives_back"] > 3
    assert worst["restored"]["head_noise"] < 0.2


def test_equalisation_repairs_an_outlier_channel(photos: Path, tmp_path: Path, facts: Callable[..., Any]) -> None:
    cfg = outlier_net(tmp_path, 100, grouped=False)
    data = label_pictures(cfg, photos, tmp_path / "val")
    assert convert([*map(str, quantize(cfg, photos, data, "--min-agreement", 93))]) == 0
    repaired = facts(cfg, "--data", data, "--calibration", photos)
    assert "outlier channel" not in {one["cause"] for one in repaired["tensors"]}
    assert repaired["head_sqnr"] > 30


@pytest.mark.parametrize("grouped", [True, False])
def test_outlier_nets_are_equivalent(grouped: bool, tmp_path: Path) -> None:
    """The planted fault is one of the numbers' sizes alone."""
    nets = []
    for factor in (1, 100):
        (tmp_path / str(factor)).mkdir()
        nets.append(load_source(outlier_net(tmp_path / str(factor), factor, grouped)).model)
    image = np.random.default_rng(0).uniform(0, 1, (2, 64, 64, 3)).astype(np.float32)
    one, other = (np.asarray(net.predict_on_batch(image)) for net in nets)
    np.testing.assert_allclose(one, other, atol=1e-3 * np.abs(one).max())


def test_calibration_on_one_black_image(
    keen: tuple[Path, Path], photos: Path, tmp_path: Path, facts: Callable[..., Any]
) -> None:
    cfg, data = keen
    black = tmp_path / "black"
    black.mkdir()
    cv2.imwrite(str(black / "black.png"), np.zeros((120, 160, 3), np.uint8))
    target = tmp_path / "out.tflite"
    limits = "--max-drop", 5, "--min-agreement", 90
    error = gate("quantize", cfg, "-o", target, "--calibration", black, "--data", data, *limits)
    assert "points below float" in str(error)
    assert "agreement F1 is" in str(error)
    assert not target.exists()
    found = facts(cfg, "--data", data, "--calibration", black)
    assert {"calibration", "clipped range"} <= set(kinds(found))
    seen = " ".join(f["seen"] for f in found["findings"] if f["kind"] == "calibration")
    assert "black.png is the only calibration image" in seen
    assert "of one colour" in seen
    assert found["tensors"][0]["cause"] == "clipped range"


def test_good_network(keen: tuple[Path, Path], photos: Path, facts: Callable[..., Any]) -> None:
    """Without a fault none is named; eight pictures are few, which is said."""
    cfg, data = keen
    found = facts(cfg, "--data", data, "--calibration", photos)
    assert set(kinds(found)) == {"calibration"}
    assert {one["cause"] for one in found["tensors"]} <= {"none", "unknown", "activation", "shared scale"}


@pytest.mark.parametrize("annotated", [True, False])
def test_normalisation_of_a_real_network(annotated: bool, shared: Path) -> None:
    """Found with annotations and without; and nothing is found where nothing is wrong."""
    source = load_source(shared / "zoo" / "yolo-fastest-1.1" / "yolo-fastest-1.1.cfg")
    split = split_heads(source)
    card, names = make_card(source, split.bindings), [binding.name for binding in split.bindings]
    data = dataclasses.replace(read_dataset(shared / "data" / "coco-sample" / "val"), annotated=annotated)
    pictures = Pictures.read(data, card.labels.names, 16)

    def run(samples: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
        return list(split.model.predict_on_batch(samples))

    assert check_normalisation(card, names, run, pictures) is None
    for scale, offset in ((1.0, 0.0), (1 / 127.5, -1.0)):
        spec = dataclasses.replace(card.input, scale=(scale,), offset=(offset,), color="bgr")
        found = check_normalisation(dataclasses.replace(card, input=spec), names, run, pictures)
        assert found is not None
        assert found.expected.endswith("probably 0..1, rgb")
