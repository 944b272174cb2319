"""Pruning the networks this project defines."""

from __future__ import annotations

import keras
import pytest

from convert.models.ssd import SsdConfig, ssd
from convert.recipe import load_recipe
from convert.trained import load_trained
from tests.convert.prune_nets import check, randomised

HEADS = ("box_", "class_")


def check_ssd(model: keras.Model, seed: int) -> None:
    """All but the heads may lose channels, and blocks that are added up stay of one width."""
    graph, _, pruned = check(model, seed)
    heads = [layer.name for layer in model.layers if layer in [t._keras_history.operation for t in model.outputs]]
    assert set(graph.kept_layers()) == set(heads)
    assert all(name.startswith(HEADS) for name in heads)
    widths = {pruned.get_layer(f"block_{index}_project").filters for index in (3, 4, 5)}
    assert len(widths) == 1
    assert pruned.get_layer("block_3_expand").filters != pruned.get_layer("block_4_expand").filters


def test_the_shipped_network() -> None:
    check_ssd(load_trained(load_recipe("playing-cards")).model, 0)


CONFIGS = {
    "ssdlite": SsdConfig(classes=4, size=64, width=0.35),
    "ssd": SsdConfig(classes=4, size=64, width=0.35, lite=False),
    "fused neck": SsdConfig(classes=4, size=64, width=0.35, neck=32, kernel=5),
}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_ssd(config: SsdConfig) -> None:
    check_ssd(randomised(ssd(config)[0]), 1)
