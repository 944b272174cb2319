"""Opening of model files: with a card or, from elsewhere, without."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

from runtime.card import Labels, ModelCard
from runtime.cores import available_cores
from runtime.engine import Engine
from runtime.errors import InputError
from runtime.files import read_names
from runtime.modelfile import read_card
from runtime.tuning import tuned_threads

_KINDS = {"detect": "a detector", "classify": "a classifier"}


def open_engine(
    path: Path, threads: int | None = None, labels: str | Path | None = None, delegate: str | None = None
) -> tuple[ModelCard, Engine]:
    """A model file's card and its network.

    Args:
        path: The ``.tflite`` file. Its own card comes first; without one it is recognised (``runtime.foreign``).
        threads: Interpreter threads; by default what ``bench --tune`` found for this model on this board, else one per
            core, at most 4.
        labels: Class names, one per line, instead of the file's.
        delegate: An external delegate, see :class:`~runtime.engine.Engine`.

    Raises:
        InputError: The file is missing, damaged or of an unknown layout, or the label file does not fit.
    """
    count = (tuned_threads(path, delegate) or default_threads()) if threads is None else threads
    names = None if labels is None else Path(labels)
    card = read_card(path)
    if card is not None:
        named = with_labels(card, names) if names else card
        return named, Engine(path, count, delegate)
    from runtime.foreign.graph import read_graph
    from runtime.foreign.recognise import recognise

    graph = read_graph(path)
    engine = Engine(path, count, delegate)
    return recognise(path, engine, graph, names), engine


def with_labels(card: ModelCard, path: Path) -> ModelCard:
    """A card with the names of a file; the background's name may be left out there.

    Raises:
        InputError: Another number of names.
    """
    names, own = read_names(path), card.labels
    if own.background and len(names) == len(own.names) - 1:
        names = (own.names[0], *names)
    if len(names) != len(own.names):
        raise InputError(
            f"{path} has {len(names)} names",
            f"the model has {len(own.names)} classes",
            "give the label file of this model",
        )
    return dataclasses.replace(card, labels=Labels(names, own.background))


def check_task(card: ModelCard, task: Literal["detect", "classify"]) -> None:
    """Refuses a model that is for another command.

    Raises:
        InputError: It names the command the model is for.
    """
    if card.task != task:
        raise InputError(
            f"{card.name} is {_KINDS[card.task]}",
            f"expected {_KINDS[task]}",
            f"use it with python -m runtime {card.task}",
        )


def default_threads() -> int:
    """One per usable core, at most 4: more hurts on every board with four cores or fewer, and helps little beyond."""
    return min(4, available_cores())
