"""Changing to another model or source while the session runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

from runtime.detector import Detector
from runtime.errors import EdgewrenError
from runtime.sources import Source


class Target(NamedTuple):
    """What runs, or is to run.

    Attributes:
        model: Its name.
        source: Its name.
        threads: The interpreter's; ``None`` for as many as usual.
    """

    model: str
    source: str
    threads: int | None


class Prepared(NamedTuple):
    """What was opened for a change; ``None`` for what stays."""

    target: Target
    detector: Detector | None
    source: Source | None

    def close(self) -> None:
        """Frees what nobody wants any more."""
        if self.detector:
            self.detector.close()
        if self.source:
            self.source.close()


class Switcher:
    """Opens what is wanted next in a thread of its own, so that the picture goes on until it can be shown.

    Args:
        running: What runs.
        open_model: Opens the model of a name, with so many threads.
        open_source: Opens the source of a name.
        ready: Called in the thread when a change can be taken.
        failed: Called in the thread when a change cannot be made, with what is wanted now: what goes on running, or
            what was asked for meanwhile.
    """

    def __init__(
        self,
        running: Target,
        open_model: Callable[[str, int | None], Detector],
        open_source: Callable[[str], Source],
        ready: Callable[[], None],
        failed: Callable[[Target, EdgewrenError | OSError], None],
    ) -> None:
        self.running = running
        self._wanted = running
        self._open_model = open_model
        self._open_source = open_source
        self._ready = ready
        self._failed = failed
        self._prepared: Prepared | None = None
        self._error: BaseException | None = None
        self._closed = False
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def want(self, **parts: str | int | None) -> None:
        """Asks for another model, source or number of threads; returns at once. The last wish counts."""
        with self._lock:
            self._wanted = self._wanted._replace(**parts)  # type: ignore[arg-type]
            if self._thread is None and not self._closed and self._wanted != self.running:
                self._thread = threading.Thread(target=self._work, name="edgewren-switch", daemon=True)
                self._thread.start()

    @property
    def prepared(self) -> bool:
        """Whether there is a change to take, or a defect."""
        return self._prepared is not None or self._error is not None

    def take(self) -> Prepared | None:
        """The change that can be made now, if any; it counts as made.

        Raises:
            BaseException: Opening failed in a way it does not expect: a defect, after which no wish would be granted.
        """
        if self._error:
            raise self._error
        with self._lock:
            prepared, self._prepared = self._prepared, None
            if prepared and prepared.target != self._wanted:
                # Another wish came in between: go on as before until that can be granted.
                prepared.close()
                return Prepared(self.running, None, None)
            if prepared:
                self.running = prepared.target
            return prepared

    def close(self) -> None:
        """Ends; what was opened and not taken is freed. Waits for nothing."""
        with self._lock:
            self._closed = True
            prepared, self._prepared = self._prepared, None
        if prepared:
            prepared.close()

    def _work(self) -> None:
        try:
            self._grant()
        except BaseException as error:
            self._error = error
            self._ready()

    def _grant(self) -> None:
        while (target := self._next()) is not None:
            try:
                prepared = self._open(target)
            except (EdgewrenError, OSError) as error:
                self._refused(target, error)
                continue
            with self._lock:
                fits = self._wanted == target and not self._closed
                if fits:
                    self._prepared = prepared
            if fits:
                self._ready()
            else:
                prepared.close()

    def _next(self) -> Target | None:
        """What is to be opened; ``None``, and this thread is over, when that has been done."""
        with self._lock:
            if self._prepared and self._prepared.target != self._wanted:
                self._prepared.close()
                self._prepared = None
            if self._closed or self._prepared or self._wanted == self.running:
                self._thread = None
                return None
            return self._wanted

    def _open(self, target: Target) -> Prepared:
        running = self.running
        another = (target.model, target.threads) != (running.model, running.threads)
        detector = self._open_model(target.model, target.threads) if another else None
        try:
            source = self._open_source(target.source) if target.source != running.source else None
        except (EdgewrenError, OSError):
            if detector:
                detector.close()
            raise
        return Prepared(target, detector, source)

    def _refused(self, target: Target, error: EdgewrenError | OSError) -> None:
        with self._lock:
            if self._wanted == target:
                self._wanted = self.running
            wanted = self._wanted
        self._failed(wanted, error)
