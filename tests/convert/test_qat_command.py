"""``python -m convert train --qat``, from trained weights to a measured model file."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import keras
import numpy as np
import pytest

from convert.cli import main as convert
from convert.data.scenes import scenes_folder
from convert.recipe import load_recipe, save_recipe
from convert.train.recipe import QatRecipe, ScenesRecipe, Stage
from convert.train.weights import save_weights
from runtime.errors import InputError
from runtime.modelfile import require_card
from tests.convert.test_trainer import NETWORK, PLAN, RECIPE, tiny

LABELS = ("nine", "ten", "jack", "queen", "king", "ace")


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe of a tiny network, with weights beside it; no record of how they came about."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("convert.trained.network", tiny)
    keras.utils.set_random_seed(3)
    save_weights(tmp_path / "made.npz", tiny(NETWORK, len(LABELS), 64)[0])
    assert RECIPE.source.format == "trained"
    made = dataclasses.replace(
        RECIPE,
        source=dataclasses.replace(RECIPE.source, labels=LABELS),
        calibration=ScenesRecipe("cards", 4, 5),
        evaluation=ScenesRecipe("cards", 2, 4),
        train=dataclasses.replace(PLAN, data=(ScenesRecipe("cards", 4, 3),), stages=(Stage(64, 2),)),
        qat=QatRecipe(steps=3, warmup=1, report_every=2),
    )
    save_recipe(made, tmp_path / "made.toml")
    return tmp_path / "made.toml"


def test_trained_weights_to_a_model_file(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert convert(["train", str(recipe), "--qat", "--seed", "7"]) == 0
    told = capsys.readouterr().out
    assert "made: wrote build/train/made/made-qat.npz" in told
    assert "made: wrote build/train/made/made-qat.tflite" in told
    assert "accuracy on 2 images" in told
    out = recipe.parent / "build" / "train" / "made"
    assert {path.name for path in out.iterdir()} == {
        *("checkpoint-qat.npz", "made-qat.npz", "made-qat.tflite", "made-qat.training.json", "training-qat.png")
    }
    record = json.loads((out / "made-qat.training.json").read_text())
    assert (record["seed"], record["steps"], record["qat"]["freeze_after"]) == (7, 3, 0.5)
    assert [entry["step"] for entry in record["log"]] == [2, 3]
    assert set(record["simulated_int8_accuracy"]) == {"scenes map50", "scenes map50_95"}
    assert "4 generated scenes" in record["provenance"][0]
    assert record["provenance"][1].startswith("quantisation-aware training from made.npz (sha256 ")
    with np.load(out / "made-qat.npz") as stored:
        names = set(stored.files)
    # Normalisation is folded: a bias where there was none.
    assert {"stem/kernel", "stem/bias", "range_image/low", "range_image/high", "range_box_16/low"} <= names
    assert not any("norm" in name for name in names)

    card = require_card(out / "made-qat.tflite")
    assert card.quantization is not None
    assert card.quantization.method == (
        "int8 quantisation-aware training (QAT): 3 steps, channels equalised, moving-average ranges, "
        "per-channel weights"
    )
    assert card.quantization.calibration_images == 4
    assert card.accuracy[0].images == 2
    assert card.source.provenance == tuple(record["provenance"])
    assert [file.name for file in card.source.files] == ["made-qat.npz"]

    # A second run finds everything done and gives the same bytes.
    weights = (out / "made-qat.npz").read_bytes()
    assert convert(["train", str(recipe), "--qat", "--seed", "7"]) == 0
    assert (out / "made-qat.npz").read_bytes() == weights


def test_weights_per_tensor_on_other_pictures(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Measured before and after, but never written as a model file, which could not hold them."""
    changed = load_recipe(str(recipe))
    save_recipe(
        dataclasses.replace(changed, qat=QatRecipe(steps=2, warmup=1, weights="per-tensor", distil=1.0)), recipe
    )
    pictures = scenes_folder(ScenesRecipe("cards", 3, 9), recipe.parent / "own")
    command = ["train", str(recipe), "--qat", "--data", str(pictures), "--test", str(pictures), "--steps", "1"]
    assert convert([*command, "--out", "other"]) == 0
    told = capsys.readouterr().out
    assert "in int8 before the training (simulated" in told
    assert told.count(f"{pictures.name} AP50-95") == 2
    assert "no model file: those have a weight scale per channel, never per tensor" in told
    record = json.loads(Path("other/made-qat.training.json").read_text())
    assert "3 images" in record["provenance"][0]
    assert (record["steps"], record["test_images"]) == (1, 3)
    assert not Path("other/made-qat.tflite").exists()


def test_weights_nobody_trained(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (recipe.parent / "made.npz").unlink()
    with pytest.raises(InputError, match=r"made has no weights; expected .*made\.npz; python -m convert train made"):
        convert(["train", str(recipe), "--qat"])
    assert not (recipe.parent / "build").exists()
