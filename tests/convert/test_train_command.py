"""``python -m convert train`` on somebody's own pictures, and what can be built from what it leaves."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import cv2
import pytest

from convert.cli import main as convert
from convert.data import read_dataset
from convert.data.scenes import scenes_folder
from convert.recipe import Recipe, TrainedRecipe, load_recipe, save_recipe
from convert.train.recipe import FolderRecipe, ScenesRecipe
from convert.train.session import Session, run_training
from runtime.errors import InputError, RunError
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


def test_own_pictures_with_a_recipe_of_several_sources(
    pictures: Path, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shares of these sources say nothing about the one folder there is now."""
    text = recipe.read_text().replace("steps = 2 }", "steps = 1, shares = [0.3, 0.7] }").replace("\ndata = []", "")
    more = '\n[[train.data]]\npath = "a"\n[[train.data]]\npath = "b"\n[qat]\nshares = [0.3, 0.7]\n'
    recipe.write_text(text + more)
    loaded = load_recipe(str(recipe))
    assert loaded.train is not None
    assert [stage.shares for stage in loaded.train.stages] == [(0.3, 0.7)] * 2
    monkeypatch.chdir(tmp_path)
    trained: list[Recipe] = []

    def weights(recipe: Recipe, *_: object) -> Path:
        trained.append(recipe)
        return tmp_path / "mine.npz"

    monkeypatch.setattr("convert.train.session.run_training", weights)
    assert convert(["train", str(recipe), "--data", str(pictures), "--name", "mine"]) == 0
    # What it leaves can be read again.
    for made in (trained[0], load_recipe(str(tmp_path / "mine.toml"))):
        assert made.train is not None
        assert [stage.shares for stage in made.train.stages] == [(), ()]
        assert len(made.train.data) == 1


def test_objects_that_nothing_is_learnt_of_are_told(
    pictures: Path, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def enough(*_: object) -> None:
        raise RunError("enough")

    monkeypatch.setattr("convert.train.session.train", enough)
    names = (pictures / "classes.txt").read_text().split()
    there = int(read_dataset(pictures).truths[0].class_ids[0])
    made = load_recipe(str(recipe))
    assert made.train is not None
    assert isinstance(made.source, TrainedRecipe)
    source = dataclasses.replace(made.source, labels=tuple(name for name in names if name != names[there]))
    plan = dataclasses.replace(made.train, data=(FolderRecipe(str(pictures)),))
    said: list[str] = []
    session = Session(tmp_path / "out", tmp_path, None, False, "", None, said.append)
    with pytest.raises(RunError, match="enough"):
        run_training(dataclasses.replace(made, source=source, train=plan, evaluation=None), None, session)
    assert "of 1 classes the model lacks do not count" in said[0]
    assert names[there] in said[0]


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
