"""What the tests of the workstation side share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def labelled(photos: Path, tiny_cfg: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made pictures labelled with what the float network itself finds: its own truth, so its AP is high."""
    from tests.convert.faults import label_pictures

    return label_pictures(tiny_cfg, photos, tmp_path_factory.mktemp("labelled"), score=0.1)
