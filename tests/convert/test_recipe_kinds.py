"""Fields of a recipe that can be one of several things, told apart by what is in them."""

from __future__ import annotations

from typing import Any

import pytest

from convert.recipe import DarknetRecipe, Recipe, RemoteFolder, TrainedRecipe
from convert.train.augment import Augmentation
from convert.train.recipe import FolderRecipe, ScenesRecipe, Stage
from convert.train.targets import Matching
from runtime.errors import InputError
from runtime.schema import decode

FILE = {"path": "net/a.cfg", "url": "http://127.0.0.1:9/a.cfg", "sha256": "0" * 64, "bytes": 10}
DARKNET = {"format": "darknet", "model": FILE, "weights": FILE, "labels": FILE}
NETWORK = {"architecture": "ssd-mobilenetv2", "heads": [{"stride": 16, "anchors": [[9, 9.5]]}]}
TRAINED = {"format": "trained", "weights": "made.npz", "labels": ["wren"], "network": NETWORK}
SCENES = {"scenes": "cards", "count": 4, "seed": 1}
REMOTE = {"path": "set", "url": "http://127.0.0.1:9", "manifest": "pins.sha256"}


def read(**changes: Any) -> Recipe:
    data: dict[str, Any] = {"name": "made", "title": "Made", "task": "detect", "licence": "MIT", "homepage": ""}
    return decode(Recipe, {**data, "source": DARKNET, "calibration": REMOTE, **changes}, "made.toml:")


def test_sources() -> None:
    assert isinstance(read().source, DarknetRecipe)
    source = read(source=TRAINED).source
    assert isinstance(source, TrainedRecipe)
    assert source.labels == ("wren",)
    assert source.network.heads[0].anchors == ((9.0, 9.5),)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (REMOTE, RemoteFolder("set", "http://127.0.0.1:9", "pins.sha256")),
        ({"path": "set"}, FolderRecipe("set")),
        ({"path": "set", "licence": "MIT"}, FolderRecipe("set", 1.0, "MIT")),
        ({"path": "set", "share": 2}, FolderRecipe("set", 2.0)),
        (SCENES, ScenesRecipe("cards", 4, 1)),
        ({**SCENES, "share": 0.5}, ScenesRecipe("cards", 4, 1, 0.5)),
    ],
)
def test_calibration(data: dict[str, Any], expected: object) -> None:
    assert read(calibration=data).calibration == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [(None, None), ({"path": "set"}, FolderRecipe("set")), (SCENES, ScenesRecipe("cards", 4, 1))],
)
def test_evaluation(data: dict[str, Any] | None, expected: object) -> None:
    assert read(evaluation=data).evaluation == expected
    assert read().evaluation is None


def test_training() -> None:
    train = {
        "data": [SCENES, {"path": "set", "share": 0.5}],
        "stages": [{"size": 64, "steps": 3}, {"size": 96, "steps": 4, "shares": [1, 0]}],
        "matching": {"at_least": 4},
        "augmentation": {"zoom": [0.5, 2]},
        "class_loss": "focal",
    }
    plan = read(source=TRAINED, train=train).train
    assert plan is not None
    assert plan.data == (ScenesRecipe("cards", 4, 1), FolderRecipe("set", 0.5))
    assert plan.stages == (Stage(64, 3), Stage(96, 4, (1.0, 0.0)))
    assert plan.steps == 7
    assert plan.matching == Matching(at_least=4)
    assert plan.augmentation == Augmentation(zoom=(0.5, 2.0))
    assert (plan.start, plan.class_loss, plan.box_loss) == (None, "focal", "giou")


def without(data: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in data.items() if key != name}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": {**DARKNET, "format": "caffe"}}, "source.format is 'caffe'; expected one of darknet, trained"),
        ({"source": {**TRAINED, "format": "caffe"}}, "source.format is 'caffe'; expected one of darknet, trained"),
        ({"source": {**TRAINED, "format": ["trained"]}}, "source.format is ['trained']; expected one of darknet,"),
        ({"source": without(DARKNET, "labels")}, "source has no field 'labels'"),
        ({"source": without(TRAINED, "network")}, "source has no field 'network'"),
        ({"source": without(TRAINED, "format")}, "source has no field 'format'"),
        ({"source": {**DARKNET, "format": "trained"}}, "source.weights is {'path': 'net/a.cfg'"),
        ({"source": {**TRAINED, "network": {"architecture": "yolo"}}}, "source.network.architecture is 'yolo'"),
        ({"source": {**TRAINED, "labels": "wren"}}, "source.labels is 'wren'; expected a list"),
        ({"source": 5}, "source is 5; expected a table with format"),
        ({"calibration": {**SCENES, "scenes": "dice"}}, "calibration.scenes is 'dice'; expected one of cards"),
        ({"calibration": without(SCENES, "seed")}, "calibration has no field 'seed'; expected a whole number"),
        ({"calibration": without(SCENES, "scenes")}, "calibration has no field 'scenes'"),
        ({"calibration": without(REMOTE, "manifest")}, "calibration has no field 'manifest'; expected a text"),
        ({"calibration": {"path": 3}}, "calibration.path is 3; expected a text"),
        ({"calibration": {}}, "calibration has no field 'path'"),
        ({"calibration": {**SCENES, "colour": 1}}, "calibration.colour is not a known field; expected one of scenes,"),
        ({"calibration": None}, "calibration is None; expected a table with"),
        ({"evaluation": []}, "evaluation is []; expected a table with"),
        ({"train": {"data": [{"path": "a"}, 7], "stages": []}}, "train.data[1] is 7; expected a table with"),
        (
            {"train": {"data": [{"scenes": "dice", "count": 1, "seed": 1}], "stages": []}},
            "train.data[0].scenes is 'dice'; expected one of cards",
        ),
        ({"train": {"data": [], "stages": [], "class_loss": "hinge"}}, "train.class_loss is 'hinge'; expected one of"),
    ],
)
def test_wrong_field_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        read(**changes)
    assert str(caught.value).startswith(f"made.toml: {message}")
    assert len(str(caught.value)) < 250
