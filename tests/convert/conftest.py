"""What the tests of the workstation side share."""

from __future__ import annotations

import functools
import gc
import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def light_tensorflow() -> None:
    """Once TensorFlow is there, what it costs a test beside the test's own work.

    Programs that a test starts are as always, the real networks' builds among them.
    """
    if tensorflow := sys.modules.get("tensorflow"):
        _lighten(tensorflow)


@functools.cache
def _lighten(tensorflow: Any) -> None:
    # Networks of tests run a few times: to optimise their graphs takes longer than to run them.
    tensorflow.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    # Its 300 000 objects stay for good: the garbage collector need not visit them each time.
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def labelled(photos: Path, tiny_cfg: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made pictures labelled with what the float network itself finds: its own truth, so its AP is high."""
    from tests.convert.faults import label_pictures

    return label_pictures(tiny_cfg, photos, tmp_path_factory.mktemp("labelled"), score=0.1)
