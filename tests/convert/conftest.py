"""What the tests of the workstation side share."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def graphs_as_they_are() -> None:
    """Networks of tests run a few times: to optimise their graphs takes TensorFlow longer than to run them.

    Programs that a test starts optimise them as always, the real networks' builds among them.
    """
    if tensorflow := sys.modules.get("tensorflow"):
        tensorflow.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


@pytest.fixture(scope="session")
def labelled(photos: Path, tiny_cfg: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made pictures labelled with what the float network itself finds: its own truth, so its AP is high."""
    from tests.convert.faults import label_pictures

    return label_pictures(tiny_cfg, photos, tmp_path_factory.mktemp("labelled"), score=0.1)
