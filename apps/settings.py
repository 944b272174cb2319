"""What a viewer may change while the session runs."""

from __future__ import annotations

import dataclasses
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apps.moment import Shape
from apps.scene import read_shapes, shape_as_data
from runtime.errors import InputError

_MOST_CLASSES = 1000


@dataclass(frozen=True)
class Chosen:
    """One consistent set of settings.

    Attributes:
        score: Lowest score shown, 0..1.
        classes: Names of the classes shown; ``None`` for all.
        shapes: Lines and zones.
        model: Name of the running model, or of the one that is being loaded.
        source: Name of the source, likewise.
        labels: Class names of the running model by class index.
    """

    score: float
    classes: tuple[str, ...] | None
    shapes: tuple[Shape, ...]
    model: str
    source: str
    labels: tuple[str, ...]


class Settings:
    """Settings that any thread may change and the session reads once per frame.

    Args:
        chosen: To begin with.
        models: Names of the models there are.
        sources: Names of the sources there are.
        fixed: What else the page is told: plain data.
        recording: Whether a recording runs.
        changed: Called after every change with the settings before and after, in the thread that made it.
    """

    def __init__(
        self,
        chosen: Chosen,
        models: Sequence[str],
        sources: Sequence[str],
        fixed: Mapping[str, Any],
        recording: Callable[[], bool],
        changed: Callable[[Chosen, Chosen], None],
    ) -> None:
        self.chosen = chosen
        self.resets = 0  # how often the counts were asked to start again
        self._models = list(models)
        self._sources = list(sources)
        self._fixed = dict(fixed)
        self._recording = recording
        self._changed = changed
        self._lock = threading.RLock()
        self._version = 0
        self._state: dict[str, Any] = {}
        self.refresh()

    def state(self) -> dict[str, Any]:
        """See :meth:`apps.moment.Controls.state`. Built once per change: not to be written to."""
        if self._state["recording"] != self._recording():
            self.refresh()
        return self._state

    def read(self, wanted: Mapping[str, Any]) -> tuple[Chosen, bool | None, bool]:
        """Checks wanted changes, and makes none.

        Args:
            wanted: See :meth:`apps.moment.Controls.change`.

        Returns:
            The settings as they would be, whether to record (``None`` to leave that as it is), and whether to set all
            counts to 0.

        Raises:
            InputError: An unknown key, or a value that does not fit.
        """
        record, reset = None, False
        changes: dict[str, Any] = {}
        for key, value in wanted.items():
            if key == "recording":
                record = self._switch(key, value)
            elif key == "reset_counts":
                reset = self._switch(key, value)
            elif key in _READERS:
                changes[key] = _READERS[key](self, value)
            else:
                known = ", ".join([*_READERS, "recording", "reset_counts"])
                raise InputError(f"unknown setting {str(key)[:40]!r}", f"expected any of {known}")
        if record and not self._fixed["can_record"]:
            raise InputError("there is no folder to record to", "", "start the app with --media DIR")
        return dataclasses.replace(self.chosen, **changes), record, reset

    def change(self, wanted: Mapping[str, Any]) -> tuple[dict[str, Any], bool | None]:
        """Makes changes, all or none.

        Returns:
            The new state, and whether to record (``None`` to leave that as it is).

        Raises:
            InputError: See :meth:`read`.
        """
        with self._lock:
            before = self.chosen
            self.chosen, record, reset = self.read(wanted)
            self.resets += reset
            after = self.chosen
            self.refresh()
        self._changed(before, after)
        return self._state, record

    def replace(self, **changes: Any) -> None:
        """Changes what the session itself decides."""
        with self._lock:
            self.chosen = dataclasses.replace(self.chosen, **changes)
            self.refresh()

    def allow_recording(self) -> None:
        """There is a place for recordings."""
        self._fixed["can_record"] = True
        self.refresh()

    def refresh(self) -> None:
        """Builds the state anew, with another version."""
        with self._lock:
            self._version += 1
            chosen = self.chosen
            self._state = {
                "model": chosen.model,
                "models": self._models,
                "source": chosen.source,
                "sources": self._sources,
                "labels": list(chosen.labels),
                "score": chosen.score,
                "classes": None if chosen.classes is None else list(chosen.classes),
                "shapes": [shape_as_data(shape) for shape in chosen.shapes],
                "recording": self._recording(),
                **self._fixed,
                "version": self._version,
            }

    def _switch(self, key: str, value: object) -> bool:
        if not isinstance(value, bool):
            raise InputError(f"{key} is {_short(value)}", "expected true or false")
        return value

    def _score(self, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
            raise InputError(f"score is {_short(value)}", "expected a number in 0..1")
        return float(value)

    def _classes(self, value: object) -> tuple[str, ...] | None:
        if value is None:
            return None
        if not isinstance(value, (list, tuple)) or len(value) > _MOST_CLASSES:
            raise InputError(f"classes is {_short(value)}", "expected a list of class names, or null for all")
        for name in value:
            if name not in self.chosen.labels:
                raise InputError(f"the model has no class {_short(name)}", "expected names of its labels")
        return tuple(dict.fromkeys(value))

    def _shapes(self, value: object) -> tuple[Shape, ...]:
        if self._fixed["tracking"]:
            return read_shapes(value)
        raise InputError("lines and zones need tracking", "", "start the app without --no-track")

    def _model(self, value: object) -> str:
        return _one_of("model", value, self._models)

    def _source(self, value: object) -> str:
        return _one_of("source", value, self._sources)


_READERS: dict[str, Callable[[Settings, object], Any]] = {
    "score": Settings._score,
    "classes": Settings._classes,
    "shapes": Settings._shapes,
    "model": Settings._model,
    "source": Settings._source,
}


def _one_of(key: str, value: object, names: Sequence[str]) -> str:
    if not isinstance(value, str) or value not in names:
        raise InputError(f"{key} is {_short(value)}", f"expected one of {', '.join(names)}")
    return value


def _short(value: object) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
