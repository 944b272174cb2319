"""The pruned card detector beside the network it was made from."""

from __future__ import annotations

import hashlib
import json

import pytest

from convert.data import open_pictures
from convert.evaluate.detection import average_precision, predict
from convert.evaluate.keras_executor import float_detector
from convert.recipe import load_recipe, weights_file
from convert.source import SourceModel
from convert.train.record import record_file
from convert.trained import load_trained
from tests.conftest import SHARED, needs_shared


@pytest.fixture(scope="module")
def pruned() -> SourceModel:
    return load_trained(load_recipe("playing-cards-pruned"))


@pytest.fixture(scope="module")
def whole() -> SourceModel:
    return load_trained(load_recipe("playing-cards-wide"))


def test_dense_and_small(pruned: SourceModel, whole: SourceModel) -> None:
    """Fewer channels, and no weight that is zero for nothing."""
    assert pruned.pruning is not None
    assert pruned.pruning.macs_after < 0.42 * pruned.pruning.macs_before
    assert pruned.model.count_params() < 0.45 * whole.model.count_params()
    assert pruned.model.output_shape == whole.model.output_shape


def test_record_is_of_these_weights() -> None:
    recipe = load_recipe("playing-cards-pruned")
    assert recipe.prune is not None
    path = weights_file(recipe)
    record = json.loads(record_file(path).read_text())
    assert record["weights_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    start = path.with_name("playing-cards-wide.npz")
    assert record["whole_sha256"] == hashlib.sha256(start.read_bytes()).hexdigest()


@needs_shared
def test_photographs(pruned: SourceModel, whole: SourceModel) -> None:
    """At most a point of AP50 less on the photographs nobody trained on."""
    photographs = open_pictures(SHARED / "data" / "cards" / "test", True)
    found = [
        average_precision(list(predict(float_detector(net), photographs)), photographs, net.labels.names)["map50"]
        for net in (whole, pruned)
    ]
    assert found[1] >= found[0] - 1.0
    assert found[0] > 98
