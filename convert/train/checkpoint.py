"""Saving a training so that it can be killed at any time."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from convert.train.npz import read_npz
from runtime.errors import InputError
from runtime.files import replacing

Arrays = list[npt.NDArray[Any]]


@dataclass
class State:
    """Everything a training is at some step.

    Attributes:
        step: Steps done.
        weights: The network's, in Keras's order.
        averages: Their moving averages, same order.
        optimizer: The optimiser's variables; empty before the first step.
        log: One entry per report: step, loss, learning rate, accuracy.
        seconds: Time spent so far.
    """

    step: int
    weights: Arrays
    averages: Arrays
    optimizer: Arrays
    log: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0


def save_state(path: Path, state: State, plan: str) -> None:
    """Writes a checkpoint beside its place and renames it, so that there is always a whole one.

    Args:
        path: The ``.npz``.
        state: What to save.
        plan: Identifies the training; another one does not go on from this file.

    Raises:
        RunError: It could not be written.
    """
    arrays = {
        f"{group}_{index:04}": array
        for group in ("weights", "averages", "optimizer")
        for index, array in enumerate(getattr(state, group))
    }
    facts = json.dumps(
        {"step": state.step, "plan": plan, "log": state.log, "seconds": state.seconds, "arrays": len(arrays)}
    )
    with replacing(path) as scratch, scratch.open("wb") as stream:
        np.savez(stream, facts=np.array(facts), **arrays)


def load_state(path: Path, plan: str) -> State | None:
    """Reads a checkpoint; ``None`` when there is none, or it belongs to another training.

    Raises:
        InputError: The file is damaged.
    """
    if not path.exists():
        return None
    try:
        data = read_npz(path)
        facts = json.loads(str(data["facts"]))
        if facts["plan"] != plan:
            return None
        # A wrong byte in the table of contents can make arrays vanish.
        if len(data) - 1 != facts.get("arrays", len(data) - 1):
            raise ValueError(f"it has {len(data) - 1} arrays of {facts['arrays']}")
        groups = {
            group: [data[name] for name in sorted(data) if name.startswith(f"{group}_")]
            for group in ("weights", "averages", "optimizer")
        }
        return State(facts["step"], log=facts["log"], seconds=facts["seconds"], **groups)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not a checkpoint ({str(error)[:200]})", "", "delete it to start over") from None
