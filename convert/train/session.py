"""``convert train``: a recipe and data to trained weights, with progress, a log and a plot."""

from __future__ import annotations

import dataclasses
import sys
import time
from pathlib import Path

from convert.cards import make_card
from convert.data import Dataset, read_dataset, report
from convert.data.scenes import scenes_folder
from convert.evaluate.detection import average_precision, predict
from convert.evaluate.keras_executor import KerasExecutor
from convert.fetch import fetch_file, find_folder
from convert.progress import Progress
from convert.quantize.heads import split_heads
from convert.recipe import Recipe
from convert.source import SourceModel
from convert.train.checkpoint import State
from convert.train.recipe import FolderRecipe, ScenesRecipe
from runtime.detector import Detector
from runtime.errors import InputError

_LINE_EVERY_S = 30.0


def open_recipe_data(
    data: FolderRecipe | ScenesRecipe, recipe: Recipe, mirror: Path | None, work: Path, strict: bool = False
) -> Dataset:
    """Annotated pictures a recipe names.

    Raises:
        InputError: They are not to be had, or cannot be used.
    """
    if isinstance(data, ScenesRecipe):
        return read_dataset(scenes_folder(data, work / "scenes", Progress("drawing scenes")))
    path = find_folder(data.path, mirror) or recipe.folder / data.path
    if not path.is_dir():
        where = f"{mirror} has no {data.path}" if mirror else f"{data.path} is not here, and no mirror was given"
        raise InputError(where, f"{recipe.name} is trained on these pictures", "give --mirror DIR, or --data DIR")
    dataset = read_dataset(path, strict, progress=Progress(f"checking {path.name}"))
    if text := report(dataset):
        print(text, file=sys.stderr)
    return dataset


def start_weights(recipe: Recipe, mirror: Path | None, work: Path) -> Path | None:
    """The file a recipe starts from, brought here; ``None`` when it starts from nothing."""
    assert recipe.train is not None
    if recipe.train.start is None:
        return None
    return fetch_file(recipe.train.start, work / "sources", mirror, lambda line: print(line, flush=True))


def measure_on(source: SourceModel, datasets: dict[str, Dataset]) -> dict[str, float]:
    """AP50 and AP50-95 of a float network per data set, through the device's own steps."""
    split = split_heads(source)
    card = make_card(source, split.bindings)
    detector = Detector(card, KerasExecutor(split, card.input))
    figures = {}
    for name, dataset in datasets.items():
        measured = average_precision(predict(detector, dataset), dataset, source.labels.names)
        figures |= {f"{name} {key}": round(value, 2) for key, value in measured.items()}
    return figures


class Teller:
    """Progress of a training: a moving line on a terminal, a line now and then in a log.

    Args:
        total: Steps in all.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._terminal = sys.stderr.isatty()
        self._last = 0.0
        self._loss = 0.0

    def __call__(self, state: State, loss: float, rate: float) -> None:
        """Tells about a step."""
        self._loss = loss if not self._loss else 0.98 * self._loss + 0.02 * loss
        now = time.monotonic()
        if now - self._last < (0.5 if self._terminal else _LINE_EVERY_S):
            return
        self._last = now
        left = (self._total - state.step) / max(rate, 1e-9)
        text = f"step {state.step}/{self._total}  loss {self._loss:.3f}  {rate:.2f} steps/s  {_clock(left)} left"
        print(f"\r\x1b[K{text}" if self._terminal else text, end="" if self._terminal else "\n", file=sys.stderr)
        sys.stderr.flush()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def with_seed(recipe: Recipe, seed: int | None) -> Recipe:
    """The recipe with another seed."""
    if seed is None or recipe.train is None:
        return recipe
    return dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, seed=seed))
