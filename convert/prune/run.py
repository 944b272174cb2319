"""From a network and a plan to a pruned network."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt

from convert.data import Dataset
from convert.evaluate.agreement import agreement_f1
from convert.evaluate.detection import Prediction, average_precision, predict
from convert.evaluate.keras_executor import float_detector
from convert.forward import run_network
from convert.progress import Progress
from convert.prune.graph import unpacked
from convert.prune.measure import Scales
from convert.prune.narrow import pruning
from convert.prune.plan import PrunePlan
from convert.prune.plot import plot_points
from convert.prune.schedule import Job, Outcome, Tuner, prune
from convert.prune.state import Store
from convert.prune.tune import ByPictures, LeaveAlone
from convert.quantize.fold import fold_norms, norm_gains
from convert.quantize.heads import split_heads
from convert.quantize.relevance import relevance, resized
from convert.source import SourceModel
from convert.stopwatch import Stopwatch
from convert.train.distil import Pictures
from runtime.sources.images import list_images

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Say = Callable[[str], None]

# Places where nothing is found count this much in a ranking, those where something is surely found 1.
_ANYWHERE = 0.02


@dataclass(frozen=True)
class Workplace:
    """What a pruning needs besides its plan.

    Attributes:
        folder: Where the rounds are kept.
        fresh: Start over even when rounds of this pruning are there.
        test: Pictures to measure on; annotated ones for AP, any for agreement.
        max_drop: Points of AP50 that may be lost.
        stopwatch: Where time is taken; ``None`` takes none.
        say: Takes progress messages.
    """

    folder: Path
    fresh: bool
    test: Dataset | None
    max_drop: float | None
    stopwatch: Stopwatch | None
    say: Say


@dataclass(frozen=True)
class Pruned:
    """A pruned detector.

    Attributes:
        source: The detector, with what was removed.
        outcome: How it came about.
    """

    source: SourceModel
    outcome: Outcome


def prune_model(model: keras.Model, plan: PrunePlan, place: Workplace) -> tuple[keras.Model, Outcome]:
    """Prunes a network of which nothing but its graph is known: no training, nothing measured.

    Raises:
        BudgetError: The target cannot be met.
        InputError: A model or a target that does not fit.
    """
    model = unpacked(model)
    job = Job(model, plan, LeaveAlone(), lambda _: {}, None, None, None, _store(model, plan, place), place.say)
    outcome = prune(job)
    return outcome.model, outcome


def prune_by_pictures(
    source: SourceModel,
    plan: PrunePlan,
    folder: Path,
    samples: Floats,
    place: Workplace,
    more: Sequence[Path] = (),
) -> Pruned:
    """Prunes a detector and teaches what is left the answers of the whole; no labels.

    Args:
        source: The detector.
        plan: What is asked for.
        folder: Pictures like those the device will see.
        samples: The same as inputs.
        place: The rest.
        more: Folders of other pictures that training looks at too.

    Raises:
        BudgetError: The target cannot be met, or the first round loses too much.
        InputError: A target or pictures that do not fit.
        RunError: Training or conversion failed.
    """
    whole = dataclasses.replace(source, model=fold_norms(source.model))
    where = find_relevance(whole, samples)
    pictures = Pictures([path for each in (folder, *more) for path in list_images(each)])
    tuner = ByPictures(whole, samples, where, pictures, plan.learning_rate, plan.seed)
    return prune_detector(whole, plan, tuner, samples, where, place, norm_gains(source.model), pictures.digest)


def prune_detector(
    source: SourceModel,
    plan: PrunePlan,
    tuner: Tuner,
    samples: Floats | None,
    where: Floats | None,
    place: Workplace,
    gains: Mapping[str, Doubles] | None = None,
    trained_on: bytes = b"",
) -> Pruned:
    """Prunes a detector.

    Args:
        source: The detector.
        plan: What is asked for.
        tuner: Trains between the rounds.
        samples: Inputs for the ranking.
        where: ``(n, rows, columns)`` relevance of places in them.
        place: The rest.
        gains: What a folded normalisation multiplied weights by, by layer.
        trained_on: Identifies what the tuner trains on; rounds that were trained on something else are not taken up.

    Raises:
        BudgetError: The target cannot be met, or the first round loses too much.
        InputError: A target or pictures that do not fit.
        RunError: Training or conversion failed.
    """
    maps = None
    if where is not None:
        maps = tuple(resized(where, tuple(output.shape[1:3])) + _ANYWHERE for output in source.model.outputs)
    some = samples if samples is not None else _noise(source)
    scales = Scales(source, some, place.stopwatch) if place.stopwatch else None
    clock = place.stopwatch.name if place.stopwatch else ""
    looked_at = b"" if samples is None else np.ascontiguousarray(samples).data
    facts = repr((source.input, source.decoder, clock)).encode()
    store = _store(source.model, plan, place, facts, looked_at, trained_on)
    measure = Measure(source, place.test)
    job = Job(source.model, plan, tuner, measure, samples, maps, scales, store, place.say, place.max_drop, gains or {})
    outcome = prune(job)
    plot_points(
        place.folder / "pruning.png",
        outcome.points,
        f"{source.name}: {plan.rank if plan.remove == 'channels' else plan.remove}, {plan.target}",
        scales.where if scales else "",
    )
    gone = pruning(source.model, outcome.model)
    return Pruned(dataclasses.replace(source, model=outcome.model, pruning=gone), outcome)


def find_relevance(source: SourceModel, samples: Floats) -> Floats:
    """Where in each sample a detector finds something, ``(n, rows, columns)`` in 0..1."""
    split = split_heads(source)
    return relevance(source.decoder, split.bindings, run_network(split.model, samples))


class Measure:
    """Accuracy of networks of one detector's kind.

    Args:
        source: The whole network: agreement is with it.
        test: Pictures; ``None`` measures nothing.
    """

    def __init__(self, source: SourceModel, test: Dataset | None) -> None:
        self._source, self._test = source, test
        self._reference: list[Prediction] | None = None

    def __call__(self, model: keras.Model) -> dict[str, float]:
        """AP50 and AP50-95 where the pictures are annotated, agreement with the whole network; in percent."""
        if self._test is None:
            return {}
        if self._reference is None:
            self._reference = list(self._predict(self._source.model))
        found = self._reference if model is self._source.model else self._predict(model)
        figures = {"agreement": float(agreement_f1(found, self._reference))}
        if self._test.annotated:
            figures |= average_precision(found, self._test, self._source.labels.names)
        return figures

    def _predict(self, model: keras.Model) -> list[Prediction]:
        assert self._test is not None
        detector = float_detector(dataclasses.replace(self._source, model=model))
        return list(predict(detector, self._test, Progress("measuring")))


def _noise(source: SourceModel) -> Floats:
    """Inputs for files whose time alone matters."""
    return np.random.default_rng(0).random((2, *source.model.inputs[0].shape[1:]), np.float32)


def _store(model: keras.Model, plan: PrunePlan, place: Workplace, *facts: bytes | memoryview) -> Store:
    """Rounds of this pruning alone: of the same network and plan, fed, trained, timed and measured by the same."""
    digest = hashlib.sha256(repr((plan, place.max_drop, model.input_shape)).encode())
    for weight in model.get_weights():
        digest.update(np.ascontiguousarray(weight).tobytes())
    for fact in facts:
        digest.update(hashlib.sha256(fact).digest())
    for truth in place.test.truths if place.test is not None else ():
        digest.update(f"{truth.path.name!a} {truth.path.stat().st_size}".encode())
        digest.update(truth.boxes.tobytes() + truth.class_ids.tobytes())
    store = Store(place.folder, digest.hexdigest(), model)
    if place.fresh:
        store.clear()
    return store
