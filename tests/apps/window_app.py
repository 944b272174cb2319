"""The live app with a camera and a detector whose truth is known, as a program of its own."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from unittest import mock

from apps.live import main
from runtime.commandline import run
from runtime.detections import Detections
from runtime.frame import Frame
from runtime.sources.images import ImageSource
from tests.apps import desk
from tests.apps.bright import Film, Seer, Stage


class Camera(Film):
    """The desk's scene, at its rate."""

    def read(self) -> Frame:
        time.sleep(1 / desk.FPS)
        self._next += 1
        return desk.picture(self._next)


class Knower(Seer):
    """Finds what was drawn."""

    def __init__(self) -> None:
        super().__init__(desk.LABELS)
        self.card = None

    def finish(self, seen: object) -> Detections:
        tracks = desk.tracks(seen.frame.index)  # type: ignore[attr-defined]
        return Detections(tracks.boxes, tracks.scores, tracks.class_ids, tracks.ms)


if __name__ == "__main__":
    stage = Stage({"m.tflite": Knower}, {"camera": lambda: Camera(None)})
    stage.sources["pictures"] = lambda: ImageSource([Path(name) for name in os.environ["PICTURES"].split(":")])
    with (
        mock.patch("apps.session.Detector.open", stage.open_model),
        mock.patch("apps.session.open_lasting", stage.open_source),
        mock.patch("apps.live.Notes"),
    ):
        sys.exit(run(main))
