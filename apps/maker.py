"""From a result to a moment: followed, counted, hidden where it must be, and numbered."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from apps.blur import Blur
from apps.follow import Follower, as_seen, is_chosen, take
from apps.moment import Count, Event, Figures, Moment
from apps.options import Options
from apps.scene import Scene
from apps.settings import Chosen
from apps.state import State
from runtime.detections import Detections
from runtime.frame import Frame
from runtime.sources import Source
from runtime.track import Tracked


class Maker:
    """Makes moments of results, and of frames the network has not seen; the two may happen in two threads.

    Args:
        options: What was chosen at the start.
        chosen: Settings to begin with.
        state: Counts to begin with.

    Attributes:
        follows: Whether objects are followed in this source.
        newest: The newest moment; ``None`` before the first of a source.
    """

    def __init__(self, options: Options, chosen: Chosen, state: State) -> None:
        self.newest: Moment | None = None
        self._options = options
        self._follower = Follower(options.track)
        self._scene = Scene(options.anchor, options.dwell, state.number)
        self._scene.set_shapes(chosen.shapes, state.tallies)
        self._blur: Blur | None = None
        self._running = self._settled = chosen
        self._hidden = _hidden(chosen)
        self._resets = 0
        self._number = 0
        # Held while moments are numbered and while what they are made with changes.
        self._lock = threading.Lock()
        self._untold: tuple[Event, ...] = ()
        self.adopt(chosen.labels)

    @property
    def follows(self) -> bool:
        """Whether objects are followed in this source."""
        return self._follower.tracks

    def start(self, source: Source) -> None:
        """Another source."""
        self._follower.start(source)

    def adopt(self, labels: tuple[str, ...]) -> None:
        """Another model, with other classes."""
        self._blur = Blur(labels, self._options.blur) if self._options.blur else None

    def floor(self, score: float) -> float:
        """Lowest score to detect: what is followed or hidden must be found before it is shown."""
        return self._follower.floor(score) if self.follows or self._options.blur else score

    def obey(self, chosen: Chosen, resets: int, labels: tuple[str, ...]) -> bool:
        """Takes over what was changed since the last frame.

        Args:
            chosen: The settings now.
            resets: How often the counts were asked to start again.
            labels: Class names of the running model.

        Returns:
            Whether the settings are others.
        """
        changed = chosen is not self._settled
        if changed:
            if chosen.shapes is not self._running.shapes:
                self._scene.set_shapes(chosen.shapes)
            self._settled = chosen
            with self._lock:
                self._running = dataclasses.replace(chosen, labels=labels)
                self._hidden = _hidden(self._running)
        if resets != self._resets:
            self._resets = resets
            self._scene.reset()
        return changed

    def make(self, frame: Frame, found: Detections, fps: float, figures: Callable[[], Figures]) -> Moment:
        """The moment of a result.

        Args:
            frame: The picture.
            found: What was detected in it.
            fps: Results per second.
            figures: Tells how the session is doing, once the rest is done.
        """
        chosen = self._running
        counts: tuple[Count, ...] = ()
        events: tuple[Event, ...] = ()
        detected = found
        if self.follows:
            found, again = self._follower.update(frame, found, chosen.score, fps)
            if again:
                self._scene.forget()
        shown = is_chosen(found, chosen.score, self._hidden)
        if isinstance(found, Tracked):
            when = time.time() - time.monotonic() + frame.captured
            size = frame.width, frame.height
            seconds = self._follower.seconds(frame)
            events = self._scene.update(found, shown, chosen.labels, size, seconds, when)
            found = as_seen(found, detected)
        if chosen.shapes:
            counts = self._scene.counts()
        if self._blur:
            frame = self._blur.apply(frame, found)
        told = figures()
        with self._lock:
            self._number += 1
            moment = Moment(self._number, frame, take(found, shown, frame), chosen.labels, told, counts, events)
            self.newest = moment
        return moment

    def keep_untold(self, events: tuple[Event, ...]) -> None:
        """Events that the next moment between two results is to tell."""
        with self._lock:
            self._untold += events

    def with_untold(self, moment: Moment) -> Moment:
        """The moment of a result, telling what no moment in between has come to tell."""
        with self._lock:
            events, self._untold = self._untold, ()
        return dataclasses.replace(moment, events=events + moment.events) if events else moment

    def between(self, frame: Frame) -> Moment | None:
        """The moment of a frame that the network has not seen, with the boxes where they should be by now."""
        with self._lock:
            newest, chosen = self.newest, self._running
            if newest is None or not self.follows:
                return None
            found = self._follower.expected(frame)
            shown = is_chosen(found, chosen.score, self._hidden)
            if self._blur:
                frame = self._blur.apply(frame, found)
            self._number += 1
            events, self._untold = self._untold, ()
            return dataclasses.replace(
                newest, number=self._number, frame=frame, found=take(found, shown, frame), events=events
            )

    def number_after(self, number: int) -> None:
        """Events get higher numbers than this one."""
        self._scene.number = max(self._scene.number, number + 1)

    def break_off(self) -> None:
        """The source or model is about to change: what was seen says nothing about what comes."""
        with self._lock:
            self.newest = None
            self._follower.tracker.reset()

    def forget(self) -> None:
        """All objects are gone, and have left their zones."""
        self._scene.forget()

    def state(self, chosen: Chosen) -> State:
        """What is to survive a restart."""
        return State(chosen.shapes, self._scene.tallies(), self._scene.number)


def _hidden(chosen: Chosen) -> npt.NDArray[np.bool_]:
    """By class index, whether a class is hidden."""
    shown = chosen.classes
    hidden: Any = np.array([shown is not None and label not in shown for label in chosen.labels], np.bool_)
    return np.asarray(hidden)
