"""Pruning networks that come from Darknet files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import needs_shared
from tests.convert.prune_nets import check
from tests.convert.test_darknet_oracle import REAL, build_net, random_weights


@needs_shared
@pytest.mark.parametrize("cfg", REAL)
def test_darknet(cfg: str, shared: Path) -> None:
    model = build_net(shared / "zoo" / cfg)[1]
    graph, _, _ = check(model, 2)
    heads = {tensor._keras_history.operation.name for tensor in model.outputs}
    assert set(graph.kept_layers()) == heads


@needs_shared
@pytest.mark.parametrize("name", ["yolov3-tiny", "yolov4-tiny", "yolov4-tiny-3l"])
def test_published_cfg_with_random_weights(name: str, shared: Path, tmp_path: Path) -> None:
    cfg = tmp_path / f"{name}.cfg"
    text = (shared / "reference" / "darknet-cfg" / f"{name}.cfg").read_text()
    cfg.write_text(text.replace("width=416", "width=64").replace("height=416", "height=64"))
    random_weights(cfg)
    check(build_net(cfg)[1], 3)
