"""Recipes."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from convert.recipe import (
    FOLDER,
    RemoteFolder,
    TrainedRecipe,
    load_recipe,
    read_manifest,
    recipe_names,
    save_recipe,
    weights_file,
)
from convert.train.recipe import QatRecipe
from runtime.errors import InputError

FILE = {"path": "net/a.cfg", "url": "http://127.0.0.1:9/a.cfg", "sha256": "0" * 64, "bytes": 10}


def write_recipe(folder: Path, **changes: Any) -> Path:
    """A complete recipe with some fields changed; ``None`` removes one."""
    data: dict[str, Any] = {
        "name": "made",
        "title": "Made for a test",
        "task": "detect",
        "licence": "MIT",
        "homepage": "https://example.org",
        "source": {"format": "darknet", "model": FILE, "weights": FILE, "labels": FILE},
        "calibration": {"path": "set/images", "url": "http://127.0.0.1:9", "manifest": "pins.sha256"},
    }
    data = {key: value for key, value in (data | changes).items() if value is not None}
    path = folder / "made.toml"
    path.write_text("\n".join(toml(data)))
    return path


def toml(data: dict[str, Any], prefix: str = "") -> list[str]:
    """Enough TOML for a test."""
    lines = [f"{key} = {value!r}".replace("True", "true") for key, value in data.items() if not isinstance(value, dict)]
    for key, value in data.items():
        if isinstance(value, dict):
            lines += [f"[{prefix}{key}]", *toml(value, f"{prefix}{key}.")]
    return lines


@pytest.mark.parametrize("name", recipe_names())
def test_shipped_recipe_is_complete(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    if isinstance(recipe.source, TrainedRecipe):
        assert weights_file(recipe).is_file()
        return
    for file in (recipe.source.model, recipe.source.weights, recipe.source.labels):
        assert re.fullmatch(r"[0-9a-f]{64}", file.sha256)
        # A branch would move under the pin.
        assert re.match(r"https://raw\.githubusercontent\.com/[^/]+/[^/]+/[0-9a-f]{40}/", file.url)
        assert file.bytes > 0
    assert isinstance(recipe.calibration, RemoteFolder)
    assert len(read_manifest(recipe.folder / recipe.calibration.manifest)) >= 100
    assert recipe.licence


@pytest.mark.parametrize("name", [*recipe_names(), "objects"])
def test_saved_recipe_reads_back(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    save_recipe(recipe, tmp_path / "again.toml")
    again = load_recipe(str(tmp_path / "again.toml"))
    assert dataclasses.replace(again, file=recipe.file) == recipe


def test_defaults(tmp_path: Path) -> None:
    recipe = load_recipe(str(write_recipe(tmp_path)))
    assert (recipe.input.resize, recipe.evaluation, recipe.thresholds.score) == (None, None, 0.25)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": None}, r"has no field 'name'"),
        ({"task": "dance"}, r"task is 'dance'; expected one of detect"),
        ({"colour": "red"}, r"colour is not a known field"),
        ({"source": {"format": "caffe"}}, r"source\.format is 'caffe'; expected one of darknet"),
        ({"calibration": {"path": 3}}, r"calibration\.path is 3; expected a text"),
        ({"input": {"resize": "crop"}}, r"input\.resize is 'crop'"),
    ],
)
def test_wrong_recipe(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        load_recipe(str(write_recipe(tmp_path, **changes)))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("steps = 1200", "steps = 0", "a stage without steps"),
        ("size = 224", "size = 225", r"a stage's size; expected a multiple of 32"),
        ("[0.35, 0.65]", "[0.35]", "a stage's shares; expected one number"),
        ("[0.35, 0.65]", "[0.0, 0.0]", "a stage's shares; expected one number"),
        ("batch = 16", "batch = 0", "train.batch 0"),
        ("learning_rate = 0.0015", "learning_rate = 0.0", "train.learning_rate 0; expected a number above 0"),
        ("warmup = 200", "warmup = -1", "train.warmup -1"),
        ("warmup = 200", "warmup = 200\naverage = 1.0", "train.average 1"),
        ("seed = 1\n", "seed = -1\n", r"train\.seed -1; expected a whole number in 0\.\.4294967295"),
        ("seed = 1\n", "seed = 4294967296\n", r"train\.seed 4294967296"),
        ("count = 4000", "count = 0", "0 cards scenes; expected count at least 1"),
        ("seed = 11", "seed = -11", "scenes with seed -11; expected at least 0"),
        ("zoom = [0.75, 1.5]", "zoom = [0.0, 1.5]", "train.augmentation.zoom"),
        ("aspect = 1.35", "aspect = 0.5", "train.augmentation.aspect"),
    ],
)
def test_training_that_cannot_be(old: str, new: str, message: str, tmp_path: Path) -> None:
    text = (FOLDER / "playing-cards.toml").read_text()
    assert text.count(old) == 1
    (tmp_path / "wrong.toml").write_text(text.replace(old, new))
    with pytest.raises(InputError, match=message):
        load_recipe(str(tmp_path / "wrong.toml"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("steps = 0", r"qat\.steps 0; expected at least 1"),
        ("warmup = 301", r"qat\.warmup 301; expected a number in 0\.\.qat\.steps"),
        ("freeze_after = 1.5", r"qat\.freeze_after 1\.5; expected a number in 0\.\.1"),
        ("momentum = 1.0", r"qat\.momentum 1"),
        ("average = -0.1", r"qat\.average -0\.1"),
        ("size = 300", r"qat\.size 300; expected a multiple of 32"),
        ("shares = [1.0]", r"qat\.shares; expected one number"),
        ("shares = [0.0, 0.0]", r"qat\.shares; expected one number"),
        ('weights = "per-row"', r"qat\.weights is 'per-row'; expected one of per-channel, per-tensor"),
        ("distil = -1.0", r"qat\.distil -1"),
        ("learning_rate = -1.0", r"qat\.learning_rate -1"),
        ("report_every = 0", r"qat\.report_every 0"),
        ("speed = 1", r"qat\.speed is not a known field"),
    ],
)
def test_rounding_that_cannot_be(line: str, message: str, tmp_path: Path) -> None:
    text = (FOLDER / "playing-cards.toml").read_text().partition("[qat]")[0]
    (tmp_path / "wrong.toml").write_text(f"{text}\n[qat]\n{line}\n")
    with pytest.raises(InputError, match=message):
        load_recipe(str(tmp_path / "wrong.toml"))
    (tmp_path / "right.toml").write_text(f"{text}\n[qat]\nsteps = 50\nshares = [0.5, 0.5]\n")
    assert load_recipe(str(tmp_path / "right.toml")).qat == QatRecipe(steps=50, shares=(0.5, 0.5))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("rounds = 2", "prune with no target; expected one of ratio, macs, size, latency and speedup"),
        ("ratio = 0.5\nmacs = 1e6", "prune with ratio and macs"),
        ("ratio = 1.0", r"prune\.ratio 1\.0; expected a share below 1"),
        ("macs = 0.0", r"prune\.macs 0; expected a number above 0"),
        ("speedup = 1.0", r"prune\.speedup 1\.0; expected a number above 1"),
        ("ratio = 0.5\nrounds = 0", r"prune\.rounds 0"),
        ("ratio = 0.5\nmultiple = 0", r"prune\.multiple 0"),
        ("ratio = 0.5\ntrain_steps = -1", "prune's training steps"),
        ("ratio = 0.5\nlearning_rate = 0.0", r"prune\.learning_rate 0"),
        ("ratio = 0.5\ndistil = -1.0", r"prune\.distil -1"),
        ('ratio = 0.5\nrank = "best"', r"prune\.rank is 'best'; expected one of"),
        ('macs = 1e6\nremove = "layers"', r"prune\.remove is 'layers'; expected one of channels, blocks"),
        ('ratio = 0.5\nremove = "blocks"', r"prune\.remove blocks with a ratio; expected macs, size"),
    ],
)
def test_pruning_that_cannot_be(lines: str, message: str, tmp_path: Path) -> None:
    text = write_recipe(tmp_path).read_text()
    (tmp_path / "wrong.toml").write_text(f"{text}\n[prune]\n{lines}\n")
    with pytest.raises(InputError, match=message):
        load_recipe(str(tmp_path / "wrong.toml"))
    (tmp_path / "right.toml").write_text(f'{text}\n[prune]\nspeedup = 1.2\nremove = "blocks"\n')
    plan = load_recipe(str(tmp_path / "right.toml")).prune
    assert plan is not None
    assert plan.remove == "blocks"


def test_blocks_of_a_network_that_is_trained_here(tmp_path: Path) -> None:
    text = (FOLDER / "playing-cards.toml").read_text().partition("[qat]")[0]
    (tmp_path / "wrong.toml").write_text(f'{text}\n[prune]\nmacs = 50e6\nremove = "blocks"\n')
    with pytest.raises(InputError, match=r"prune\.remove blocks with \[train\]; expected channels"):
        load_recipe(str(tmp_path / "wrong.toml"))


def test_teacher_needs_classes_of_their_own(tmp_path: Path) -> None:
    text = (FOLDER / "playing-cards.toml").read_text().partition("[qat]")[0]
    assert text.count("[train]") == 1
    text = text.replace("[train]", '[train]\nclass_loss = "hard-negative"')
    (tmp_path / "wrong.toml").write_text(f"{text}\n[qat]\ndistil = 1.0\n")
    with pytest.raises(InputError, match="softmax; expected 0, or another"):
        load_recipe(str(tmp_path / "wrong.toml"))


def test_rounding_without_training(tmp_path: Path) -> None:
    path = write_recipe(tmp_path, qat={"steps": 3})
    with pytest.raises(InputError, match=r"qat without \[train\]; expected a recipe that is trained"):
        load_recipe(str(path))


def test_not_a_recipe(tmp_path: Path) -> None:
    with pytest.raises(
        InputError,
        match="no recipe 'nothing'; expected one of playing-cards, playing-cards-pruned, playing-cards-wide, yolo",
    ):
        load_recipe("nothing")
    with pytest.raises(InputError, match="no such file"):
        load_recipe(str(tmp_path / "missing.toml"))
    (tmp_path / "broken.toml").write_text("name = ")
    with pytest.raises(InputError, match="is not TOML"):
        load_recipe(str(tmp_path / "broken.toml"))


@pytest.mark.parametrize("line", ["abc  a.jpg", "0" * 64 + "  ../a.jpg", "0" * 64 + "  .hidden", "0" * 64])
def test_wrong_manifest(line: str, tmp_path: Path) -> None:
    (tmp_path / "pins.sha256").write_text(line + "\n")
    with pytest.raises(InputError, match="line 1"):
        read_manifest(tmp_path / "pins.sha256")


def test_only_recipes_know_model_names() -> None:
    """Adding a model to the zoo is adding a recipe: no code mentions one by name."""
    names = [tomllib.loads(path.read_text())["name"] for path in FOLDER.glob("*.toml")]
    root = FOLDER.parents[1]
    for path in [*(root / "convert").rglob("*.py"), *(root / "runtime").rglob("*.py"), *(root / "apps").rglob("*.py")]:
        for name in names:
            assert name not in re.sub(r'""".*?"""', "", path.read_text(), flags=re.DOTALL), path
