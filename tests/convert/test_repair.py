"""Tensors that stay float where int8 misses its budget: which ones, and that the file then meets it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from convert import prices
from convert.cli import main as command
from convert.conversion import convert
from convert.data import open_pictures
from convert.importers import load_source
from convert.prices import longest_within
from convert.recipe import Budget
from runtime.errors import BudgetError, InputError
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
    assert done.card.accuracy[0].agreement_f1 >= wanted
    assert done.card.quantization
    assert "in float" in done.card.quantization.method
    assert require_card(target).accuracy == done.card.accuracy

    with pytest.raises(BudgetError, match="agreement F1 is"):
        convert(source, photos, tmp_path / "none.tflite", data, said.append, budget=Budget(None, wanted, 0.01))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["before.tflite", "net", "out.tflite", "pictures"]


def test_no_budget_on_pictures_of_nothing(tiny_cfg: Path, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "black").mkdir()
    cv2.imwrite(str(tmp_path / "black" / "black.png"), np.zeros((64, 64, 3), np.uint8))
    for flag, seen in (("--min-agreement", "the float network finds nothing in"), ("--max-drop", "has an object")):
        with pytest.raises(InputError, match=seen):
            command(quantize(tiny_cfg, photos, tmp_path / "out.tflite", "--data", tmp_path / "black", flag, 1))
