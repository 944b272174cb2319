"""Tensors that stay float where int8 misses its budget: which ones, and that the file then meets it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from convert import prices
from convert.budget import require_detections
from convert.cli import main as command
from convert.conversion import convert
from convert.data import open_pictures
from convert.evaluate.detection import Prediction
from convert.importers import load_source
from convert.prices import longest_within
from convert.quantize.noise import Unit
from convert.recipe import Budget
from convert.repair import best_step
from convert.stopwatch import Timing
from runtime.board import cpu_name
from runtime.card import Accuracy
from runtime.detections import Detections
from runtime.errors import InputError, RunError
from runtime.modelfile import require_card
from tests.conftest import picture
from tests.convert.faults import outlier_net
from tests.convert.test_budget import quantize


@pytest.mark.parametrize("costs", [[], [1.0], [1.0, 2.0, 3.0, 9.0, 9.5, 20.0, 21.0], [30.0, 31.0], [-3.0, -2.0, 0.0]])
@pytest.mark.parametrize("allowed", [0.5, 1.0, 9.0, 50.0])
def test_longest_beginning_is_measured_whole(costs: list[float], allowed: float) -> None:
    asked: list[int] = []

    def slowdown(count: int) -> float:
        asked.append(count)
        return costs[count - 1]

    assert longest_within(len(costs), slowdown, allowed) == sum(cost <= allowed for cost in costs)
    assert len(asked) == len(set(asked)) <= len(costs).bit_length()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Photographs without anything else, none of them known from calibration."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for seed in range(30, 38):
        cv2.imwrite(str(folder / f"{seed}.png"), picture(seed))
    return folder


def test_budget_is_met_in_float(
    pictures: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One bad tensor that equalisation cannot repair; pictures without annotations are enough for it."""
    monkeypatch.setattr(prices, "_BATCH", 3)
    before, target = tmp_path / "before.tflite", tmp_path / "out.tflite"
    (tmp_path / "net").mkdir()
    cfg = outlier_net(tmp_path / "net", 100, grouped=True)
    assert command(quantize(cfg, photos, before, "--data", pictures)) == 0
    (row,) = require_card(before).accuracy
    assert row.float_map50 is None
    assert f"without annotations: {row.agreement_f1:.1f} %" in capsys.readouterr().out
    assert row.agreement_f1 < 90

    wanted, said = 95.0, list[str]()
    source, data = load_source(cfg), open_pictures(pictures, strict=False)
    # Of a network of a few microseconds the change between int8 and float is most of the time.
    done = convert(source, photos, target, data, said.append, budget=Budget(None, wanted, 2000))
    assert "what it takes to meet the budget:" in "\n".join(said)
    assert f"milliseconds: one thread of {cpu_name()}" in "\n".join(said)
    assert done.card.accuracy[0].agreement_f1 >= wanted
    assert done.card.quantization
    assert "in float" in done.card.quantization.method
    assert require_card(target).accuracy == done.card.accuracy


class Workbench:
    """A converter that fails wherever ``b`` is in float."""

    def file(self, quantized: Any, precision: str) -> bytes:
        assert precision == "mixed"
        if "b" in quantized.leave:
            raise RunError("seen", "expected", "do")
        return ",".join(sorted(quantized.leave)).encode()


@dataclasses.dataclass(frozen=True)
class Network:
    leave: frozenset[str] = frozenset()


def test_what_the_converter_refuses_stays_int8(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors a to f, three to a batch; each that is float costs as many percent as its place in the alphabet."""

    def time_files(files: list[bytes]) -> list[Timing]:
        return [Timing(1.0, float(sum(" abcdef".index(name) for name in one.decode().split(",")))) for one in files]

    monkeypatch.setattr(prices, "_BATCH", 3)
    monkeypatch.setattr(prices, "time_files", time_files)
    monkeypatch.setattr(prices, "units", lambda _: [Unit((name,), 0.1, 1.0) for name in "abcdef"])
    for allowed, expected in ((0.5, ""), (3.9, "a"), (4.1, "ac"), (8.0, "acd"), (100.0, "acdef")):
        paid = prices.affordable(Network(), b" ", allowed, Workbench(), lambda done, total: None)  # type: ignore[arg-type]
        assert "".join(unit.points[0] for unit in paid) == expected


def test_a_measurement_that_failed_is_no_price(monkeypatch: pytest.MonkeyPatch) -> None:
    """A throttled machine says nothing about tensors; what the converter refuses does."""

    def time_files(files: list[bytes]) -> list[Timing]:
        if len(files) == 2:
            raise RunError("throttled while it measured")
        return [Timing(1.0, 1.0)] * len(files)

    monkeypatch.setattr(prices, "time_files", time_files)
    monkeypatch.setattr(prices, "units", lambda _: [Unit((name,), 0.1, 1.0) for name in "acd"])
    with pytest.raises(RunError, match="throttled"):
        prices.affordable(Network(), b" ", 5.0, Workbench(), lambda done, total: None)  # type: ignore[arg-type]


STEPS = [("int8", 0, 0.0, 90.0), ("a", 2, 3.0, 94.0), ("b", 8, 9.0, 96.0), ("c", 20, 20.0, 98.0)]


@pytest.mark.parametrize(
    ("slowdown", "agreement", "expected"),
    [(10.0, 95.0, "b"), (10.0, 93.0, "a"), (10.0, 97.0, None), (30.0, 97.0, "c"), (2.0, 93.0, None), (2.0, 89, "int8")],
)
def test_fewest_tensors_within_the_budget(slowdown: float, agreement: float, expected: str | None) -> None:
    def step(name: str, left: int, slower: float, agreed: float) -> Any:
        accuracy = (Accuracy("made", 8, None, None, None, None, agreed),)
        candidate = SimpleNamespace(card=SimpleNamespace(accuracy=accuracy))
        return SimpleNamespace(name=name, left=("t",) * left, slowdown=slower, candidate=candidate)

    best = best_step(tuple(step(*each) for each in reversed(STEPS)), Budget(None, agreement, slowdown))
    assert (best.name if best else None) == expected


def test_no_drop_of_ap_on_plain_pictures(pictures: Path, tiny_cfg: Path, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none of the 8 images of .*pictures has an object"):
        command(quantize(tiny_cfg, photos, tmp_path / "out.tflite", "--data", pictures, "--max-drop", 1))


def test_there_must_be_something_to_agree_on(pictures: Path) -> None:
    data = open_pictures(pictures, strict=False)

    def found(score: float) -> Prediction:
        one = Detections(np.zeros((1, 4), np.float32), np.full(1, score, np.float32), np.zeros(1, np.int32))
        return Prediction(one, 96, 96)

    with pytest.raises(InputError, match=r"the float network finds nothing in the 2 images of .*pictures"):
        require_detections([found(0.2), found(0.24)], data)
    require_detections([found(0.2), found(0.25)], data)
