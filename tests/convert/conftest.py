"""What the tests of the workstation side share."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest


@pytest.fixture(scope="session")
def labelled(photos: Path, tiny_cfg: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made pictures labelled with what the float network itself finds: its own truth, so its AP is high."""
    from convert.cards import make_card
    from convert.evaluate.keras_executor import KerasExecutor
    from convert.importers import load_source
    from convert.quantize.heads import split_heads
    from runtime.detector import Detector

    folder = tmp_path_factory.mktemp("labelled")
    (folder / "images").mkdir()
    (folder / "labels").mkdir()
    (folder / "classes.txt").write_text("wren\nrobin\nfinch\n")
    source = load_source(tiny_cfg)
    split = split_heads(source)
    detector = Detector(make_card(source, split.bindings), KerasExecutor(split, source.input), score=0.1)
    for path in sorted(photos.glob("*.png")):
        shutil.copy(path, folder / "images")
        image = cv2.imread(str(path))
        assert image is not None
        height, width = image.shape[:2]
        found = detector.detect(np.asarray(image, np.uint8))
        lines = []
        for class_id, (x1, y1, x2, y2) in zip(
            found.class_ids, found.boxes / [width, height, width, height], strict=True
        ):
            if x2 - x1 > 0.02 and y2 - y1 > 0.02:
                lines.append(f"{class_id} {(x1 + x2) / 2:.6f} {(y1 + y2) / 2:.6f} {x2 - x1:.6f} {y2 - y1:.6f}")
        (folder / "labels" / f"{path.stem}.txt").write_text("\n".join(lines))
    return folder
