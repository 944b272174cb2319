"""Rounds of a pruning on disk, so that it can be killed at any time and taken back."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from convert.prune.graph import Keep
from convert.quiet import quiet
from convert.train.npz import read_npz
from runtime.errors import InputError
from runtime.files import make_folder, replacing
from runtime.schema import decode, encode


@dataclass(frozen=True)
class Point:
    """A network measured.

    Attributes:
        round: 0 for the whole network.
        macs: Multiply-accumulates of one inference.
        removed: Share of the channels that is gone, 0..1.
        level: Work the target stands for, in multiply-accumulates; for a latency weighed with the layers' times.
        bytes: Of the plain int8 file.
        ms, whole_ms: Milliseconds of an int8 inference, and of the whole network's in the same rounds of timing.
        map50, map50_95: AP of the float network in percent, where there were annotated pictures.
        agreement: Agreement F1 with the whole network in percent, where there were pictures.
    """

    round: int
    macs: float
    removed: float
    level: float
    bytes: int | None = None
    ms: float | None = None
    whole_ms: float | None = None
    map50: float | None = None
    map50_95: float | None = None
    agreement: float | None = None

    def text(self) -> str:
        """One line of figures."""
        parts = [f"{self.macs / 1e6:.1f} million MACs", f"{self.removed:.0%} of the channels gone"]
        if self.bytes is not None:
            parts.append(f"{self.bytes} bytes")
        if self.ms is not None and self.whole_ms is not None:
            parts.append(f"{self.ms:.2f} ms ({self.whole_ms / self.ms:.2f} times as fast)")
        for name, value in (("AP50", self.map50), ("AP50-95", self.map50_95), ("agreement", self.agreement)):
            if value is not None:
                parts.append(f"{name} {value:.1f}")
        return ", ".join(parts)


@dataclass(frozen=True)
class State:
    """A pruning after some round.

    Attributes:
        model: The network.
        keep: Classes of the whole network's channels it has left.
        points: The whole network, then every round so far.
    """

    model: keras.Model
    keep: Keep
    points: tuple[Point, ...]


class Store:
    """A folder with a network per round.

    Args:
        folder: Made where it is missing.
        key: Identifies the pruning; another one does not go on from this folder.
        whole: The network before, which is not stored.
    """

    def __init__(self, folder: Path, key: str, whole: keras.Model) -> None:
        self._folder, self._key, self._whole = make_folder(folder), key, whole

    def save(self, state: State) -> None:
        """Keeps a round.

        Raises:
            RunError: It cannot be written.
        """
        number = state.points[-1].round
        if number:
            with replacing(self._folder / f"round-{number:02}.keras") as scratch, quiet():
                state.model.save(scratch)
            with replacing(self._folder / f"round-{number:02}.npz") as scratch, scratch.open("wb") as stream:
                np.savez(stream, keep=state.keep)
        facts = {"key": self._key, "points": [encode(point) for point in state.points]}
        with replacing(self._folder / "pruning.json") as scratch:
            scratch.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")

    def load(self, number: int | None = None) -> State | None:
        """A round, by default the last; ``None`` where there is none of this pruning.

        Raises:
            InputError: A damaged file.
        """
        path = self._folder / "pruning.json"
        if not path.is_file():
            return None
        facts = _read(path, lambda: json.loads(path.read_text(encoding="utf-8")))
        if not isinstance(facts, dict) or facts.get("key") != self._key:
            return None
        points = _read(path, lambda: _points(facts.get("points")))
        last = points[-1].round if number is None and points else number or 0
        points = points[: last + 1]
        if not last:
            return State(self._whole, np.ones(0, np.bool_), points) if points else None
        weights, marks = (self._folder / f"round-{last:02}.{suffix}" for suffix in ("keras", "npz"))
        model = _read(weights, lambda: keras.saving.load_model(weights, compile=False))
        return State(model, _read(marks, lambda: read_npz(marks)["keep"].astype(np.bool_)), points)

    def clear(self) -> None:
        """Forgets all rounds."""
        for path in [*self._folder.glob("round-*"), self._folder / "pruning.json"]:
            path.unlink(missing_ok=True)


def _points(data: Any) -> tuple[Point, ...]:
    points = decode(tuple[Point, ...], data, "points")
    if [point.round for point in points] != list(range(len(points))):
        raise ValueError("rounds are missing")
    return points


def _read(path: Path, read: Callable[[], Any]) -> Any:
    try:
        with quiet():
            return read()
    # What damage raises depends on the byte.
    except Exception as error:
        raise InputError(f"{path} is damaged ({str(error)[:160]})", "", "give --fresh to start over") from None
