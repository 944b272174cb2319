"""``python -m convert train`` on somebody's own pictures, and what can be built from what it leaves."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest

from convert.cli import main as convert
from convert.data.scenes import scenes_folder
from convert.recipe import load_recipe, save_recipe
from convert.train.recipe import ScenesRecipe
from runtime.errors import InputError
from runtime.modelfile import require_card


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A few annotated pictures that the recipe knows nothing of."""
    drawn = scenes_folder(ScenesRecipe("cards", 6, 3), tmp_path)
    return drawn.rename(tmp_path / "found things")


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """The recipe for one's own objects, made small and starting from nothing."""
    text = (load_recipe("objects").folder / "objects.toml").read_text()
    head, _, rest = text.partition("[train.start]")
    small = head.replace("size = 320", "size = 64").replace("batch = 16", "batch = 2")
    small = small.replace("size = 224, steps = 1000", "size = 32, steps = 2").replace("steps = 1000", "steps = 2")
    path = tmp_path / "small.toml"
    path.write_text(small + rest[rest.index("[train.matching]") :])
    return path


def test_own_pictures_to_a_model_file(
    pictures: Path, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["train", str(recipe), "--data", str(pictures), "--test", str(pictures), "--name", "mine", "--seed", "5"]
    assert convert(command) == 0
    out = tmp_path / "build" / "train" / "mine"
    assert sorted(path.name for path in out.iterdir()) == [
        *("checkpoint.npz", "mine.npz", "mine.toml", "mine.training.json", "training.png")
    ]
    told = capsys.readouterr().out
    assert "mine.toml; next: python -m convert build" in told
    record = json.loads((out / "mine.training.json").read_text())
    assert (record["seed"], record["steps"], record["test_images"]) == (5, 4, 6)
    assert "6 images" in record["provenance"][0]
    assert set(record["float_accuracy"]) == {f"{tmp_path.name}/found things {key}" for key in ("map50", "map50_95")}
    plot = cv2.imread(str(out / "training.png"))
    assert plot is not None
    assert plot.std() > 5

    # A second run finds everything done and gives the same bytes.
    weights = (out / "mine.npz").read_bytes()
    assert convert(command) == 0
    assert (out / "mine.npz").read_bytes() == weights

    assert convert(["build", str(out / "mine.toml"), "--out", str(tmp_path / "models")]) == 0
    card = require_card(tmp_path / "models" / "mine.tflite")
    assert card.labels.names == tuple((pictures / "classes.txt").read_text().split())
    assert (card.decoder.name, card.source.format) == ("ssd", "trained")
    assert card.source.provenance == tuple(record["provenance"])
    assert card.delegation is not None
    assert (card.delegation.delegated, card.delegation.partitions) == (card.delegation.total, 1)


def test_folder_without_class_names_says_so(pictures: Path, recipe: Path) -> None:
    (pictures / "classes.txt").unlink()
    with pytest.raises(InputError, match="does not name its classes"):
        convert(["train", str(recipe), "--data", str(pictures)])


def test_strict_refuses_what_is_otherwise_left_out(
    pictures: Path, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    broken = sorted((pictures / "images").iterdir())[0]
    broken.write_bytes(broken.read_bytes()[:500])
    with pytest.raises(InputError, match=broken.name):
        convert(["train", str(recipe), "--data", str(pictures), "--strict"])
    assert not (tmp_path / "build").exists()


def test_weights_that_nobody_trained(tmp_path: Path) -> None:
    save_recipe(load_recipe("playing-cards"), tmp_path / "elsewhere.toml")
    with pytest.raises(InputError, match="has no weights"):
        convert(["build", str(tmp_path / "elsewhere.toml"), "--out", str(tmp_path / "models")])
    assert not (tmp_path / "models").exists() or not list((tmp_path / "models").iterdir())
