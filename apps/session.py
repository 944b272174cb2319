"""The live session: finds, follows and counts, and hands each moment to the outputs."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from apps.blur import Blur
from apps.choices import named_models, named_sources
from apps.gauges import Gauges
from apps.governing import Governing
from apps.health import Health, patience
from apps.maker import Maker
from apps.moment import Moment, Output
from apps.notices import Notices
from apps.options import Options
from apps.server.ports import Library
from apps.service import Service
from apps.settings import Chosen, Settings
from apps.smooth import Smoother
from apps.switching import Switcher, Target
from apps.upkeep import Upkeep
from runtime.detector import Detector
from runtime.errors import EdgewrenError, InputError
from runtime.frame import Frame
from runtime.pipeline import Pipeline, Result
from runtime.sources import Source, open_lasting

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
        service: The process, as a service manager sees it.

    Attributes:
        options: What was chosen at the start.
        stepped_back: Whether it was to end because another process has its turn.
        notices: Sentences for the viewer.
        health: Whether results keep coming.
        library: Stored recordings, clips and snapshots, where there are any.

    Raises:
        InputError: A model cannot be opened, a class to blur or show is unknown, or the state file cannot be kept.
    """

    def __init__(self, options: Options, say: Callable[[str], None], service: Service | None = None) -> None:
        self.notices = Notices(say)
        self.health = Health(patience(options.max_fps))
        self.service = service or Service()
        self.stepped_back = False
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
        self._interrupted: Pipeline | None = None
        self._over = threading.Event()
        self._offered = 0.0
        self._gauges = Gauges(self.notices)
        self._score_given = options.score is not None
        self._upkeep = Upkeep(options.state, self.notices, self._look_after, self.stop)
        self._take_up()
        self._switcher = Switcher(
            Target(model, source, options.threads), self._open_model, self._open_source, self._interrupt, self._failed
        )
        threads = getattr(self._detector.executor, "threads", 1)
        self._governing = Governing(
            options, self._want, threads, lambda: self.settings.chosen.model, self._small_name()
        )
        self._smoother = Smoother(self._between) if options.smooth and options.track else None

    def take_turn(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Waits until no other process has camera and port; counts and lines are then those it has left.

        Args:
            meanwhile: What else can be made ready, while the other one ends.

        Raises:
            InputError: The state file cannot be read.
        """
        if self.service.ready(meanwhile):
            self._upkeep.restore()
            self._take_up()

    # What the page and MQTT may ask: apps.moment.Controls.

    def state(self) -> dict[str, Any]:
        return self.settings.state()

    def change(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        self.settings.read(wanted)  # what is refused chooses nothing
        self._score_given |= "score" in wanted
        state, record = self.settings.change(wanted)
        if record is not None and self._recorder:
            self._recorder.record(record)
            return self.settings.state()
        return state

    def snapshot(self) -> str:
        moment = self._maker.newest
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
        self._maker.start(self._source)

    def record_with(self, recorder: Recorder, library: Library) -> None:
        """Tells where recordings and snapshots are stored, and how they are found."""
        self._recorder = recorder
        self.library = library
        # Where no state was kept: events must not have the numbers of those whose clips are there.
        self._maker.number_after(max((entry.last_event or 0 for entry in library.entries()), default=0))
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
        self._offer()
        self._upkeep.start()
        while True:
            pipeline = Pipeline(
                self.source, self._detector, self.options.loop, paced, keep=True, onlooker=self._smoother
            )
            self._gauges.another_pipeline(pipeline, self.source)
            self._governing.steer(pipeline, lambda: self._gauges.fps)
            self._pipeline = pipeline
            if self._switcher.prepared:
                # It was ready before this pipeline was there to be interrupted.
                self._interrupt()
            with pipeline:
                while not self._over.is_set() and self._turn(pipeline):
                    pass
            # What it was interrupted for may be wanted no longer: then the same goes on.
            if self._over.is_set() or not (self._switched() or self._interrupted is pipeline):
                return

    def stop(self) -> None:
        """Ends :meth:`run` soon; safe from any thread."""
        self._over.set()
        self._interrupt()

    def step_back(self) -> None:
        """Ends :meth:`run` soon, for another process; safe from any thread."""
        self.stepped_back = True
        self.stop()

    def stopping(self) -> bool:
        """Whether :meth:`run` is to end."""
        return self._over.is_set()

    def close(self) -> None:
        """Frees model and source and writes the state for the last time."""
        self._over.set()
        with contextlib.ExitStack() as stack:
            stack.callback(self.service.close)
            stack.callback(self._keep_last)
            stack.callback(self._free)
            stack.callback(self._upkeep.close)
            if self._smoother:
                stack.callback(self._smoother.close)
            stack.callback(self._switcher.close)

    def _free(self) -> None:
        try:
            if self._source:
                self._source.close()
        finally:
            self._detector.close()

    def _keep_last(self) -> None:
        if self._source is None:
            # It never had its turn: the state is another process's.
            return
        self._maker.forget()
        self._offer()
        self._upkeep.save(final=True)

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
        return self._gauges.tally.dropped

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
        chosen = self.settings.chosen
        if self._maker.obey(chosen, self.settings.resets, self._detector.labels):
            self._set_floor()
        moment = self._maker.make(
            result.frame, result.found, self._gauges.fps, lambda: self._gauges.figures(self.source)
        )
        self.health.beat(result.ready)
        self._alive()
        if result.ready - self._offered >= 1:
            self._offered = result.ready
            self._offer()
        if self._smoother:
            self._smoother.judge(moment.figures.fps, self.source.fps if self._maker.follows else None)
        smooth = self._smoother is not None and self._smoother.active
        if smooth:
            self._maker.keep_untold(moment.events)
        # The network may have caught up before another frame came in between.
        late = None if smooth else self._maker.with_untold(moment)
        for output in self._outputs:
            if not getattr(output, "smooth", False):
                output.show(moment)
            elif late:
                output.show(late)

    def _between(self, frame: Frame) -> None:
        """Shows a frame that the network has not seen."""
        moment = None if self._over.is_set() else self._maker.between(frame)
        if moment is None:
            return
        for output in self._outputs:
            if getattr(output, "smooth", False):
                output.show(moment)

    def _alive(self) -> None:
        """A session that is stuck must not say that it lives: a restart may help."""
        if self.health.check(time.monotonic())[0]:
            self.service.alive()

    def _set_floor(self) -> None:
        self._detector.score = self._maker.floor(self.settings.chosen.score)

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
        if pipeline := self._pipeline:
            self._interrupted = pipeline
            pipeline.stop()

    def _failed(self, wanted: Target, error: EdgewrenError | OSError) -> None:
        self.settings.replace(model=wanted.model, source=wanted.source)
        self.notices.set("change", str(error), lasting=False)

    def _switched(self) -> bool:
        """Makes the change that is prepared, if any."""
        change = self._switcher.take()
        if change is None:
            return False
        self._maker.break_off()
        if change.source:
            self.source.close()
            self._source = change.source
        if change.detector:
            self._detector.close()
            self._detector = change.detector
            self._relabel()
        self._maker.start(self.source)
        self._maker.forget()
        return True

    def _relabel(self) -> None:
        """Settings that depend on the model follow it: its own score, unless one was chosen, and its classes."""
        labels, chosen = self._detector.labels, self.settings.chosen
        score = chosen.score if self._score_given else self._detector.score
        classes = None if chosen.classes is None else tuple(name for name in chosen.classes if name in labels)
        self.settings.replace(score=score, classes=classes or None, labels=labels)
        self._maker.adopt(labels)
        self._set_floor()

    def _small_name(self) -> str | None:
        small = self.options.small_model
        return next((name for name, path in self._models.items() if path == small), None)

    # State and upkeep.

    def _take_up(self) -> None:
        """Begins with what was kept."""
        options, state = self.options, self._upkeep.restored
        model, source = next(iter(self._models)), next(iter(self._sources))
        shapes = (options.shapes if state.shapes is None else state.shapes) if options.track else ()
        self.settings = Settings(
            Chosen(self._detector.score, None, shapes, model, source, self._detector.labels),
            tuple(self._models),
            tuple(self._sources),
            {"can_record": False, "blur": list(options.blur), "tracking": options.track},
            lambda: self._recorder is not None and self._recorder.recording,
            self._changed,
        )
        if options.classes:
            self.settings.change({"classes": list(options.classes)})
        self._maker = Maker(options, self.settings.chosen, state)
        self._set_floor()

    def _look_after(self) -> None:
        """Once a second, beside the session: the board's figures and the governor."""
        self._gauges.read_board()
        self.notices.set("governor", self._governing.update(self._gauges.load()))

    def _offer(self) -> None:
        if self._upkeep.keeps:
            self._upkeep.offer(self._maker.state(self.settings.chosen))


def _present(*paths: Path | None) -> list[Path]:
    return [path for path in paths if path]
