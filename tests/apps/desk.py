"""A session in small whose truth is known: drawn squares, the real counting, the real page server."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import cv2
import numpy as np

from apps.moment import Figures, Moment, Shape
from apps.scene import Scene
from apps.scene.shapes import read_shapes, shape_as_data
from apps.server import Limits, WebOutput
from apps.server.ports import Library
from runtime.detections import StageMs
from runtime.draw import annotate
from runtime.errors import InputError
from runtime.frame import Frame
from runtime.track import Tracked, TrackState

LABELS = ("wren", "robin", "finch")
WIDTH, HEIGHT, SIDE = 640, 360, 90
TOP, RANGE, STEP = 150, 480, 6
SMALL = (40.0, 30.0, 100.0, 90.0)  # a wren that stays where it is
FPS = 30


def left_edge(number: int) -> int:
    """Where the robin is in a frame: it walks to and fro."""
    position = number * STEP % (2 * RANGE)
    return 30 + (position if position <= RANGE else 2 * RANGE - position)


def picture(number: int) -> Frame:
    pixels = np.full((HEIGHT, WIDTH, 3), 40, np.uint8)
    pixels[:, :, 0] = np.linspace(30, 60, WIDTH, dtype=np.uint8)
    left = left_edge(number)
    pixels[TOP : TOP + SIDE, left : left + SIDE] = 230
    x1, y1, x2, y2 = (int(value) for value in SMALL)
    pixels[y1:y2, x1:x2] = 150
    return Frame(pixels, "bgr", "/secret/place/made.mp4", number)


def tracks(number: int) -> Tracked:
    left = left_edge(number)
    boxes = np.array([[left, TOP, left + SIDE, TOP + SIDE], SMALL], np.float32)
    none = np.zeros(2, np.float32)
    return Tracked(
        boxes=boxes,
        scores=np.array([0.87, 0.4], np.float32),
        class_ids=np.array([1, 0], np.int32),
        ms=StageMs(1.0, 8.0, 1.0),
        track_ids=np.array([1, 2], np.int64),
        states=np.full(2, TrackState.CONFIRMED, np.uint8),
        ages=none,
        unseen=none,
        indices=np.arange(2, dtype=np.int32),
    )


@dataclass(frozen=True)
class Stored:
    name: str
    kind: Literal["recording", "clip", "snapshot"]
    bytes: int
    when: float
    event: int | None = None
    last_event: int | None = None


class Recorder(Protocol):
    """What keeps media: ``apps.media.MediaOutput``."""

    @property
    def library(self) -> Library: ...
    def record(self, on: bool) -> None: ...
    def snapshot(self, moment: Moment) -> str: ...
    def show(self, moment: Moment) -> None: ...
    def close(self) -> None: ...


class Desk:
    """Controls, media library and session in one; runs until closed.

    Args:
        folder: For snapshots; ``None`` for none.
        recorder: Stores recordings, clips and snapshots instead.
        options: Of the web output.
    """

    def __init__(
        self,
        folder: Path | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        recorder: Recorder | None = None,
        **options: Any,
    ) -> None:
        self._lock = threading.Lock()
        self._folder = folder
        self._recorder = recorder
        self._scene = Scene("centre")
        self._settings: dict[str, Any] = {
            "model": "tiny", "models": ["tiny", "large"], "source": "made", "sources": ["made", "other"],
            "labels": list(LABELS), "score": 0.25, "classes": None, "shapes": [], "recording": False,
            "can_record": bool(folder or recorder), "blur": [], "version": 1,
        }  # fmt: skip
        self.number = 0
        self.crossings: list[tuple[int, str]] = []
        self.snapshots: list[Stored] = []
        self.figures = Figures(49.5, 12.3, 4, 0, 51.4, ())
        self.newest: Moment | None = None
        library: Library | None = recorder.library if recorder else self if folder else None
        self.web = WebOutput(host, port, self, media=library, **options)
        self.address = self.web.url.removeprefix("http://").partition("/")[0]
        self.url = f"http://{self.address}"
        self._stop = threading.Event()
        self.silent = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(1 / FPS):
            if self.silent.is_set():
                self.web.tell(self.figures)
            else:
                self.step()

    def step(self) -> None:
        """One frame."""
        self.number += 1
        frame, found = picture(self.number), tracks(self.number)
        with self._lock:
            settings = self._settings
            names = [LABELS[index] for index in found.class_ids.tolist()]
            shown = found.scores >= settings["score"]
            if settings["classes"] is not None:
                shown &= np.array([name in settings["classes"] for name in names])
            events = self._scene.update(found, shown, LABELS, (WIDTH, HEIGHT), self.number / FPS, time.time())
            counts = self._scene.counts()
        self.figures.frames = self.number
        self.newest = Moment(self.number, frame, found.take(shown), LABELS, self.figures, counts, events)
        if self._recorder:
            self._recorder.show(self.newest)
        self.web.show(self.newest)

    def state(self) -> dict[str, Any]:
        return self._settings

    def change(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        if unknown := set(wanted) - set(self._settings) - {"reset_counts"}:
            raise InputError(f"unknown setting {min(unknown)!r}", "expected score, classes, shapes")
        score = wanted.get("score", 0.5)
        if isinstance(score, bool) or not isinstance(score, (int, float)) or not 0 <= score <= 1:
            raise InputError(f"score is {score!r}", "expected 0..1")
        with self._lock:
            settings = dict(self._settings)
            if "shapes" in wanted:
                shapes: tuple[Shape, ...] = read_shapes(wanted["shapes"])
                self._scene.set_shapes(shapes)
                settings["shapes"] = [shape_as_data(shape) for shape in shapes]
            if wanted.get("reset_counts"):
                self._scene.reset()
            if self._recorder and "recording" in wanted:
                self._recorder.record(wanted["recording"])
            settings |= {key: value for key, value in wanted.items() if key not in ("shapes", "reset_counts")}
            self._settings = settings | {"version": settings["version"] + 1}
        return self._settings

    def snapshot(self) -> str:
        if self._recorder and self.newest:
            return self._recorder.snapshot(self.newest)
        if self._folder is None or self.newest is None:
            raise InputError("there is nothing to store", "expected a picture and a folder")
        name = f"snapshot-{len(self.snapshots) + 1}.jpg"
        cv2.imwrite(str(self._folder / name), annotate(self.newest.frame, self.newest.found, LABELS))
        self.snapshots.insert(0, Stored(name, "snapshot", (self._folder / name).stat().st_size, time.time()))
        return name

    def entries(self) -> list[Stored]:
        return self.snapshots

    def find(self, name: str) -> Path | None:
        return self._folder / name if self._folder and any(one.name == name for one in self.snapshots) else None

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self.web.close()
        if self._recorder:
            self._recorder.close()


def main() -> None:
    """Serves the scene for a look by hand."""
    import sys
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        desk = Desk(Path(folder), port=int(sys.argv[1]), limits=Limits())
        print(desk.web.url, flush=True)
        try:
            time.sleep(float(sys.argv[2]))
        finally:
            desk.close()


if __name__ == "__main__":
    main()
