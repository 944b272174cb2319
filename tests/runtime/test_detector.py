"""The detector: what it adds to its parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from runtime.decode import Candidates
from runtime.detector import Detector
from runtime.engine import Executor
from runtime.errors import RunError
from tests.conftest import picture


class FixedDecoder:
    """Two boxes of different classes in one place, and one elsewhere."""

    def decode(self, executor: Executor, score: float) -> Candidates:
        boxes = np.array([[2, 2, 20, 20], [3, 2, 21, 20], [30, 30, 40, 40]], np.float32)
        return Candidates(boxes, np.array([0.6, 0.9, 0.5], np.float32), np.array([0, 1, 0], np.int32))


def test_classes_compete_only_when_the_card_says_so(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Detector.open(tiny_model, threads=1) as detector:
        monkeypatch.setattr(detector, "_decoder", FixedDecoder())
        assert not detector.class_agnostic
        assert detector.detect(picture(1)).class_ids.tolist() == [1, 0, 0]
        detector.class_agnostic = True
        found = detector.detect(picture(1))
    assert found.class_ids.tolist() == [1, 0]
    assert found.scores.tolist() == pytest.approx([0.9, 0.5])


def test_soft_suppression_lowers_scores_instead(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Detector.open(tiny_model, threads=1, score=0.05) as detector:
        monkeypatch.setattr(detector, "_decoder", FixedDecoder())
        detector.soft_nms = detector.class_agnostic = True
        found = detector.detect(picture(1))
    overlap = (17 * 18) / (19 * 18)
    assert found.class_ids.tolist() == [1, 0, 0]
    assert found.scores.tolist() == pytest.approx([0.9, 0.5, 0.6 * np.exp(-(overlap**2) / 0.5)], rel=1e-5)


def test_label_files_are_named_as_models_are(tiny_model: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("owl\nrook\ncrow\n")
    for path in (str(names), names):
        with Detector.open(str(tiny_model), threads=1, labels=path) as detector:
            assert detector.labels == ("owl", "rook", "crow")


def test_closed_detector_says_so(tiny_model: Path) -> None:
    detector = Detector.open(tiny_model, threads=1)
    detector.close()
    with pytest.raises(RunError, match="was closed"):
        detector.detect(picture(1))
