"""The live session: finds, follows and counts, and hands each moment to the outputs."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np

from apps.blur import Blur
from apps.choices import named_models, named_sources
from apps.follow import Follower, is_chosen, take
from apps.gauges import Gauges
from apps.governing import Governing
from apps.health import Health
from apps.moment import Count, Event, Moment, Output
from apps.notices import Notices
from apps.options import Options
from apps.scene import Scene
from apps.server.ports import Library
from apps.service import Service
from apps.settings import Chosen, Settings
from apps.smooth import Smoother
from apps.state import Keeper, State, load_state
from apps.switching import Switcher, Target
from runtime.detector import Detector
from runtime.errors import EdgewrenError, InputError
from runtime.frame import Frame
from runtime.pipeline import Pipeline, Result
from runtime.sources import Source, open_lasting
from runtime.track import Tracked

_IDLE_S = 1.0  # without a frame: then the outputs get figures alone


class Recorder(Protocol):
    """The part of the media store that is asked for something."""

    @property
    def recording(self) -> bool:
        """Whether a recording runs."""

    def record(self, on: bool) -> None:
        """Starts or ends a recording; returns at once."""

    def snapshot(self, moment: Moment) -> str:
        """Stores a moment as a picture; returns its name."""


class Session:
    """One camera, one model, any number of outputs; what may be changed meanwhile is in :meth:`change`.

    Use :meth:`open` for the source when it may be taken, :meth:`run` for the work, and :meth:`close` in any case.

    Args:
        options: What was chosen at the start.
        say: Takes one line for the terminal or log.

    Attributes:
        options: What was chosen at the start.
        notices: Sentences for the viewer.
        health: Whether results keep coming.
        library: Stored recordings, clips and snapshots, where there are any.

    Raises:
        InputError: A model cannot be opened, a class to blur or show is unknown, or the state file cannot be kept.
    """

    def __init__(self, options: Options, say: Callable[[str], None]) -> None:
        self.notices = Notices(say)
        self.health = Health()
        self.service = Service()
        self.options = options
        self._say = say
        self._models = named_models(_present(options.model, *options.also_models, options.small_model))
        self._sources = named_sources([options.input, *options.also_sources])
        model, source = next(iter(self._models)), next(iter(self._sources))
        for other in list(self._models)[1:]:
            self._open_model(other, options.threads).close()
        self._recorder: Recorder | None = None
        self.library: Library | None = None
        self._detector = self._open_model(model, options.threads)
        self._source: Source | None = None
        self._pipeline: Pipeline | None = None
        self._over = threading.Event()
        self._number = 0
        self._resets = 0
        self._offered = 0.0
        self._newest: Moment | None = None
        self._gauges = Gauges(self.notices)
        self._follower = Follower(options.track)
        self._score_given = options.score is not None
        state = self._restored()
        self._scene = Scene(options.anchor, options.dwell, state.number)
        shapes = (options.shapes if state.shapes is None else state.shapes) if options.track else ()
        self._scene.set_shapes(shapes, state.tallies)
        labels = self._detector.labels
        chosen = Chosen(self._detector.score, None, shapes, model, source, labels)
        self.settings = Settings(
            chosen,
            tuple(self._models),
            tuple(self._sources),
            {"can_record": False, "blur": list(options.blur), "tracking": options.track},
            lambda: self._recorder is not None and self._recorder.recording,
            self._changed,
        )
        if options.classes:
            self.settings.change({"classes": list(options.classes)})
        self._running = self._settled = self.settings.chosen
        self._hidden = _hidden(self._running)
        self._adopt(labels)
        self._switcher = Switcher(
            Target(model, source, options.threads), self._open_model, self._open_source, self._interrupt, self._failed
        )
        self._governing = Governing(options, self._want, model, self._small_name())
        # Held while moments are numbered and while what they are made with changes: two threads may make them.
        self._making = threading.Lock()
        self._untold: tuple[Event, ...] = ()
        self._smoother = Smoother(self._between) if options.smooth and options.track else None
        self._upkeep = threading.Thread(target=self._keep_up, name="edgewren-upkeep", daemon=True)

    # What the page and MQTT may ask: apps.moment.Controls.

    def state(self) -> dict[str, Any]:
        return self.settings.state()

    def change(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        self._score_given |= "score" in wanted
        state, record = self.settings.change(wanted)
        if record is not None and self._recorder:
            self._recorder.record(record)
            return self.settings.state()
        return state

    def snapshot(self) -> str:
        moment = self._newest
        if self._recorder is None:
            raise InputError("there is no folder to store pictures in", "", "start the app with --media DIR")
        if moment is None:
            raise InputError("there is no picture yet", "", "wait for the camera")
        return self._recorder.snapshot(moment)

    # The work.

    @property
    def detector(self) -> Detector:
        """The running model."""
        return self._detector

    @property
    def source(self) -> Source:
        """Where frames come from; after :meth:`open`."""
        assert self._source is not None
        return self._source

    def open(self) -> None:
        """Opens the source; with ``--wait`` a camera that is not there yet is waited for.

        Raises:
            InputError: It cannot be read.
        """
        self._source = open_lasting(self._sources[self.settings.chosen.source], self.options.wait)
        self._follower.start(self._source)

    def record_with(self, recorder: Recorder, library: Library) -> None:
        """Tells where recordings and snapshots are stored, and how they are found."""
        self._recorder = recorder
        self.library = library
        self.settings.allow_recording()

    def run(self, outputs: Sequence[Output], *, paced: bool) -> None:
        """Works until the source ends or :meth:`stop` is called. Closes neither outputs nor source.

        Args:
            outputs: Take every moment, in this thread alone.
            paced: Play videos at their own speed.

        Raises:
            EdgewrenError: A source that is no camera, the network or an output failed.
        """
        self._outputs = outputs
        self.health.beat(time.monotonic())
        self._upkeep.start()
        while True:
            self._gauges.another_pipeline()
            passed = self._smoother.passed if self._smoother else None
            pipeline = Pipeline(self.source, self._detector, self.options.loop, paced, keep=True, passed=passed)
            self._governing.steer(pipeline, lambda: self._gauges.fps)
            self._pipeline = pipeline
            with pipeline:
                while not self._over.is_set() and self._turn(pipeline):
                    pass
            if self._over.is_set() or not self._switched():
                return

    def stop(self) -> None:
        """Ends :meth:`run` soon; safe from any thread."""
        self._over.set()
        self._interrupt()

    def stopping(self) -> bool:
        """Whether :meth:`run` is to end."""
        return self._over.is_set()

    def close(self) -> None:
        """Frees model and source and writes the state for the last time."""
        self._over.set()
        self._switcher.close()
        if self._smoother:
            self._smoother.close()
        if self._upkeep.is_alive():
            self._upkeep.join()
        if self._source:
            self._source.close()
        self._detector.close()
        self._scene.forget()
        self._offer()
        self._save(final=True)

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def frames(self) -> int:
        """Results so far."""
        return self._gauges.frames

    @property
    def dropped(self) -> int:
        """Frames left out so far."""
        return self._gauges.dropped

    def _turn(self, pipeline: Pipeline) -> bool:
        """One result, or one second without any; false at the end."""
        try:
            result = pipeline.take(_IDLE_S)
        except TimeoutError:
            self._idle()
            return True
        if result is None:
            return False
        self._take(result)
        return True

    def _idle(self) -> None:
        figures = self._gauges.figures(self.source)
        if figures.source == "reopening":
            self.health.beat(time.monotonic(), "reopening")
        self._alive()
        self._offer()
        for output in self._outputs:
            output.tell(figures)

    def _take(self, result: Result) -> None:
        self._gauges.add(result)
        self._obey()
        chosen = self._running
        frame, found = result.frame, result.found
        counts: tuple[Count, ...] = ()
        events: tuple[Event, ...] = ()
        if self._follower.tracks:
            found, again = self._follower.update(frame, found, chosen.score, self._gauges.fps)
            if again:
                self._scene.forget()
        shown = is_chosen(found, chosen.score, self._hidden)
        if isinstance(found, Tracked):
            when = time.time() - time.monotonic() + frame.captured
            size = frame.width, frame.height
            seconds = self._follower.seconds(frame)
            events = self._scene.update(found, shown, chosen.labels, size, seconds, when)
        if chosen.shapes:
            counts = self._scene.counts()
        if self._blur:
            frame = self._blur.apply(frame, found)
        figures = self._gauges.figures(self.source)
        with self._making:
            self._number += 1
            moment = Moment(self._number, frame, take(found, shown, frame), chosen.labels, figures, counts, events)
            self._newest = moment
        self.health.beat(result.ready)
        self._alive()
        if self._keeper and result.ready - self._offered >= 1:
            self._offered = result.ready
            self._offer()
        smooth = self._smoother is not None and self._smoother.active
        if smooth:
            self._untold += events
        for output in self._outputs:
            if not (smooth and getattr(output, "smooth", False)):
                output.show(moment)
        if self._smoother:
            self._smoother.judge(figures.fps, self.source.fps if self._follower.tracks else None)

    def _between(self, frame: Frame) -> None:
        """Shows a frame that the network has not seen, with the boxes where they should be by now."""
        with self._making:
            newest, chosen = self._newest, self._running
            if newest is None or self._over.is_set():
                return
            found = self._follower.expected(frame)
            shown = is_chosen(found, chosen.score, self._hidden)
            if self._blur:
                frame = self._blur.apply(frame, found)
            self._number += 1
            events, self._untold = self._untold, ()
            moment = dataclasses.replace(
                newest, number=self._number, frame=frame, found=take(found, shown, frame), events=events
            )
        for output in self._outputs:
            if getattr(output, "smooth", False):
                output.show(moment)

    def _alive(self) -> None:
        """A session that is stuck must not say that it lives: a restart may help."""
        if self.health.check(time.monotonic())[0]:
            self.service.alive()

    def _obey(self) -> None:
        """Takes over what was changed since the last frame."""
        chosen = self.settings.chosen
        if chosen is not self._settled:
            if chosen.shapes is not self._running.shapes:
                self._scene.set_shapes(chosen.shapes)
            self._settled = chosen
            with self._making:
                self._running = dataclasses.replace(chosen, labels=self._detector.labels)
                self._hidden = _hidden(self._running)
            self._detector.score = self._floor(chosen.score)
        if self._resets != self.settings.resets:
            self._resets = self.settings.resets
            self._scene.reset()

    def _floor(self, score: float) -> float:
        """Lowest score to detect: what is followed or hidden must be found before it is shown."""
        return self._follower.floor(score) if self._follower.tracks or self.options.blur else score

    def _adopt(self, labels: tuple[str, ...]) -> None:
        """A model begins to run."""
        self._blur = Blur(labels, self.options.blur) if self.options.blur else None
        self._detector.score = self._floor(self.settings.chosen.score)

    # Changes of model and source, from the page or the governor.

    def _open_model(self, name: str, threads: int | None) -> Detector:
        options = self.options
        detector = Detector.open(self._models[name], threads, options.score, options.labels)
        if options.blur:
            Blur(detector.labels, options.blur)  # What cannot be hidden must not run.
        return detector

    def _open_source(self, name: str) -> Source:
        return open_lasting(self._sources[name])

    def _changed(self, before: Chosen, after: Chosen) -> None:
        if (before.model, before.source) != (after.model, after.source):
            self._switcher.want(model=after.model, source=after.source)

    def _want(self, **parts: str | int | None) -> None:
        """The governor's wishes."""
        if "model" in parts:
            self.settings.replace(model=parts["model"])
        self._switcher.want(**parts)

    def _interrupt(self) -> None:
        if self._pipeline:
            self._pipeline.stop()

    def _failed(self, running: Target, error: EdgewrenError) -> None:
        self.settings.replace(model=running.model, source=running.source)
        self.notices.set("change", str(error), lasting=False)

    def _switched(self) -> bool:
        """Makes the change that is prepared, if any."""
        change = self._switcher.take()
        if change is None:
            return False
        with self._making:
            self._newest = None
            self._follower.tracker.reset()
        if change.source:
            self.source.close()
            self._source = change.source
        if change.detector:
            self._detector.close()
            self._detector = change.detector
            self._relabel()
        self._follower.start(self.source)
        self._scene.forget()
        return True

    def _relabel(self) -> None:
        """Settings that depend on the model follow it: its own score, unless one was chosen, and its classes."""
        labels, chosen = self._detector.labels, self.settings.chosen
        score = chosen.score if self._score_given else self._detector.score
        classes = None if chosen.classes is None else tuple(name for name in chosen.classes if name in labels)
        self.settings.replace(score=score, classes=classes or None, labels=labels)
        self._adopt(labels)

    def _small_name(self) -> str | None:
        small = self.options.small_model
        return next((name for name, path in self._models.items() if path == small), None)

    # State and upkeep.

    def _restored(self) -> State:
        path: Path | None = self.options.state
        self._keeper = Keeper(path) if path else None
        if path is None:
            return State()
        state, trouble = load_state(path)
        if trouble:
            self.notices.set("state", trouble)
        return state

    def _keep_up(self) -> None:
        """Once a second, beside the session: the board's figures, the governor, the state file."""
        while not self._over.wait(1.0):
            self._gauges.read_board()
            self.notices.set("governor", self._governing.update(self._gauges.load()))
            self._save()

    def _offer(self) -> None:
        if self._keeper:
            self._keeper.offer(State(self.settings.chosen.shapes, self._scene.tallies(), self._scene.number))

    def _save(self, *, final: bool = False) -> None:
        if self._keeper is None:
            return
        try:
            self._keeper.write(final=final)
        except EdgewrenError as error:
            self.notices.set("state file", str(error))
        else:
            self.notices.set("state file", "")


def _present(*paths: Path | None) -> list[Path]:
    return [path for path in paths if path]


def _hidden(chosen: Chosen) -> Any:
    """By class index, whether a class is hidden."""
    shown = chosen.classes
    return np.array([shown is not None and label not in shown for label in chosen.labels], np.bool_)
