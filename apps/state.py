"""What survives a restart: lines, zones, counts and the number of the next event."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from apps.moment import Shape
from apps.scene import Tally, read_shapes, shape_as_data
from runtime.errors import EdgewrenError, InputError, RunError
from runtime.files import check_writable, read_text, replacing

_VERSION = 1
_EVERY_S = 5.0
# Numbers set aside with each save: those given out after it must not come again when the process is killed.
_RESERVE = 1000


@dataclass
class State:
    """What is kept.

    Attributes:
        shapes: Lines and zones; ``None`` where nothing was kept.
        tallies: Counts by shape.
        number: Of the next event.
    """

    shapes: tuple[Shape, ...] | None = None
    tallies: dict[str, Tally] = field(default_factory=dict)
    number: int = 1


def load_state(path: Path) -> tuple[State, str]:
    """Reads a state file.

    A damaged one is kept aside, as ``NAME.damaged``, and everything starts afresh.

    Returns:
        The state, and one line for the user where something is wrong.

    Raises:
        InputError: The file cannot be read, or nothing can be written beside it.
    """
    check_writable(path)
    if not path.exists():
        return State(), ""
    try:
        return _parse(read_text(path, "the state of a live session")), ""
    except (EdgewrenError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        aside = path.with_name(f"{path.name}.damaged")
        try:
            os.replace(path, aside)
        except OSError:
            raise InputError(f"{path} is damaged and cannot be moved away", "", "remove it, or name another") from None
        reason = error.seen if isinstance(error, EdgewrenError) else str(error)
        return State(), f"{path} was damaged ({reason}): kept as {aside.name}, lines and counts start afresh"


def _parse(text: str) -> State:
    data = json.loads(text)
    if data["version"] != _VERSION:
        raise ValueError(f"version {data['version']}")
    number = data["next_event"]
    if not isinstance(number, int) or number < 1:
        raise ValueError("next_event is no number")
    tallies = {str(name): Tally.from_data(kept) for name, kept in data["counts"].items()}
    return State(read_shapes(data["shapes"]), tallies, number)


class Keeper:
    """Writes the state file, at most once every few seconds, whole or not at all.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._newest: State | None = None
        self._written = ""
        self._reserved = 0
        self._last = time.monotonic()

    def offer(self, state: State) -> None:
        """Takes a new state, to be written when it is time; it must not be changed any more."""
        self._newest = state

    def write(self, *, at_once: bool = False, final: bool = False) -> None:
        """Writes what was offered last, when it says something new and it is time.

        Args:
            at_once: Whether it is time in any case.
            final: Whether the session ends: write now, and set no numbers aside.

        Raises:
            RunError: It cannot be written.
        """
        state, now = self._newest, time.monotonic()
        if state is None or (now - self._last < _EVERY_S and not (at_once or final)):
            return
        if final:
            self._reserved = state.number
        elif state.number + _RESERVE // 2 > self._reserved:
            self._reserved = state.number + _RESERVE
        text = json.dumps(self._data(state), ensure_ascii=False, indent=1) + "\n"
        if text == self._written:
            return
        self._last = now
        try:
            with replacing(self._path) as scratch, scratch.open("w", encoding="utf-8") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise RunError(f"{self._path} could not be written ({error.strerror})", "", "free disk space") from None
        self._written = text

    def _data(self, state: State) -> dict[str, Any]:
        counts = {
            name: {"into": dict(kept.into), "out": dict(kept.out), "dwell_s": _rounded(kept.dwell_s)}
            for name, kept in state.tallies.items()
        }
        shapes = [shape_as_data(shape) for shape in state.shapes or ()]
        return {"version": _VERSION, "next_event": self._reserved, "shapes": shapes, "counts": counts}


def _rounded(table: dict[str, float]) -> dict[str, float]:
    return {label: round(seconds, 1) for label, seconds in table.items()}
