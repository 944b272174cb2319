"""A session that sees: bright squares on dark ground, found by looking, with files and cameras made of arrays."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from apps.moment import Figures, Moment, Output
from apps.options import read_options
from apps.session import Session
from runtime.detections import Detections
from runtime.errors import InputError
from runtime.frame import Frame
from tests.waiting import until

WIDTH, HEIGHT, SIDE, TOP = 160, 120, 30, 50
FPS = 20.0
CYCLE = 60  # frames from the left to the right and back


def left_edge(index: int) -> int:
    """Where the square is in a frame: it starts at the left, and moves four pixels a frame."""
    step = index % CYCLE
    return 5 + 4 * min(step, CYCLE - step)


def picture(index: int) -> Frame:
    """A frame with noise in the square, so that something can be hidden."""
    pixels = np.full((HEIGHT, WIDTH, 3), 20, np.uint8)
    left = left_edge(index)
    noise = np.random.default_rng(index).integers(150, 255, (SIDE, SIDE, 3), dtype=np.uint8)
    pixels[TOP : TOP + SIDE, left : left + SIDE] = noise
    return Frame(pixels, "bgr", "made", index)


class Seer:
    """A detector and its stages in one: the box around all that is bright; it overlooks some frames.

    Attributes:
        labels: Two classes; what it finds is of the second one.
        closed: Whether it was freed.
        threads: Of its interpreter.
    """

    threads = 4

    def __init__(self, labels: tuple[str, ...] = ("wren", "robin"), missed: tuple[int, ...] = ()) -> None:
        self.labels = labels
        self.score = 0.4
        self.closed = False
        self._missed = missed

    @property
    def executor(self) -> Seer:
        return self

    def stages(self) -> Seer:
        return self

    def prepare(self, frame: Frame) -> Frame:
        return frame

    def discard(self, frame: Frame) -> None:
        pass

    def infer(self, frame: Frame) -> Any:
        return _Seen(frame)

    def finish(self, seen: Any) -> Detections:
        frame: Frame = seen.frame
        y, x = (frame.pixels[:, :, 0] > 100).nonzero()
        if not len(x) or frame.index in self._missed:
            return Detections.empty()
        box = np.array([[x.min(), y.min(), x.max() + 1, y.max() + 1]], np.float32)
        return Detections(box, np.array([0.8], np.float32), np.array([1], np.int32))

    def close(self) -> None:
        self.closed = True


@dataclass
class _Seen:
    frame: Frame


class Film:
    """A file of some frames, or a camera that never ends."""

    def __init__(self, count: int | None, name: str = "made") -> None:
        self.live = count is None
        self.fps: float | None = FPS
        self.closed = False
        self._count = count
        self._name = name
        self._next = 0

    def read(self) -> Frame | None:
        if self._count is not None and self._next >= self._count:
            return None
        if self.live:
            time.sleep(0.005)
        frame = picture(self._next)
        frame.source = self._name
        self._next += 1
        return frame

    def rewind(self) -> bool:
        self._next = 0
        return not self.live

    def close(self) -> None:
        self.closed = True


class Notebook:
    """An output that keeps everything."""

    def __init__(self) -> None:
        self.moments: list[Moment] = []
        self.told: list[Figures] = []

    def show(self, moment: Moment) -> None:
        self.moments.append(moment)

    def tell(self, figures: Figures) -> None:
        self.told.append(figures)

    def close(self) -> None:
        pass


@dataclass
class Stage:
    """What sessions of a test open.

    Attributes:
        models: What opens a model, by the file's name.
        sources: What opens a source, by its name.
        said: Lines for the terminal.
    """

    models: dict[str, Callable[[], Seer]]
    sources: dict[str, Callable[[], Any]]
    said: list[str] = field(default_factory=list)
    opened: list[Any] = field(default_factory=list)

    def open_model(self, path: Path, threads: int | None, score: float | None, labels: Path | None) -> Seer:
        """Stands for ``Detector.open``."""
        if path.name not in self.models:
            raise InputError(f"{path}: no such file")
        seer = self.models[path.name]()
        seer.score = 0.4 if score is None else score
        self.opened.append(seer)
        return seer

    def open_source(self, uri: str, wait: bool = False) -> Any:
        """Stands for ``open_source``."""
        if uri not in self.sources:
            raise InputError(f"no camera at {uri}")
        self.opened.append(source := self.sources[uri]())
        return source

    def session(self, *arguments: str) -> Session:
        """A session with these arguments, its source open."""
        session = self.loaded(*arguments)
        session.open()
        return session

    def loaded(self, *arguments: str) -> Session:
        """A session with these arguments that has not had its turn."""
        return Session(read_options(list(arguments)), self.said.append)


class Running:
    """A session in a thread of its own, as long as the block lasts."""

    def __init__(self, session: Session, *outputs: Output) -> None:
        self.session = session
        self.notebook = Notebook()
        self._thread = threading.Thread(target=session.run, args=([self.notebook, *outputs],), kwargs={"paced": True})

    def __enter__(self) -> Running:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.session.stop()
        self._thread.join(10)
        self.session.close()
        assert not self._thread.is_alive()

    def wait(self, condition: Callable[[], object], seconds: float = 10) -> None:
        """Waits until something is true."""
        until(condition, seconds=seconds, pause=0.01)

    def newest(self) -> Moment:
        """The moment after now."""
        count = len(self.notebook.moments)
        self.wait(lambda: len(self.notebook.moments) > count)
        return self.notebook.moments[-1]


def boxes(moments: list[Moment]) -> Iterator[tuple[int, list[float]]]:
    """Frame numbers and the one box shown."""
    for moment in moments:
        if len(moment.found):
            yield moment.frame.index, moment.found.boxes[0].tolist()
