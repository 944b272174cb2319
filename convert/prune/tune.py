"""Making a pruned network good again: by pictures alone, by labels, or not at all."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt

from convert.progress import Progress
from convert.prune.reconstruct import reconstruct, sources_of
from convert.quantize.graph import is_convolution
from convert.recipe import Recipe, TrainedRecipe
from convert.source import SourceModel
from convert.train.distil import Lesson, Pictures, distil
from convert.train.feed import Pool
from convert.train.progress import Teller
from convert.train.recipe import Stage
from convert.train.small import SmallTrainee
from convert.train.trainer import Training, train

Floats = npt.NDArray[np.float32]
Channels = Mapping[str, npt.NDArray[np.int64]]
Stands = Mapping[str, str]


class LeaveAlone:
    """For networks nothing is known about: what is left stays as it is."""

    def tune(self, model: keras.Model, channels: Channels, steps: int, stands: Stands) -> keras.Model:
        """The network itself."""
        return model


@dataclass
class ByPictures:
    """Fits weights to what the whole network computes, then learns its answers; no labels.

    Attributes:
        source: The whole network, its normalisation folded.
        samples: ``(n, height, width, 3)`` inputs for the fit.
        relevance: Where the outputs matter in each.
        pictures: For the training.
        learning_rate: Of the training.
        seed: Of everything random.
    """

    source: SourceModel
    samples: Floats
    relevance: Floats | None
    pictures: Pictures
    learning_rate: float
    seed: int

    def tune(self, model: keras.Model, channels: Channels, steps: int, stands: Stands) -> keras.Model:
        """Fits and trains, in place."""
        progress = Progress("fitting weights")
        reconstruct(model, self.source.model, channels, self.samples, self.relevance, progress, self.seed, stands)
        if steps:
            student = dataclasses.replace(self.source, model=model)
            lesson = Lesson(steps, self.learning_rate, seed=self.seed)
            whole = self.source.model
            behind = unchanged(model, whole, stands)
            for layer in behind:
                layer.trainable = False
            distil(student, whole, self.pictures, lesson, Progress("training"), channels, stands)
            for layer in behind:
                layer.trainable = True
        return model


def unchanged(model: keras.Model, whole: keras.Model, stands: Stands) -> list[keras.Layer]:
    """The layers behind the last removal, in network order.

    They are the whole network's own (also where two in a row became one), fitted to what they read now. To train them
    as well makes things worse: each step of Adam moves every weight, and these have nowhere to go.
    """
    left, last = {layer.name for layer in model.layers}, 0
    for index, layer in enumerate(model.layers):
        twin = whole.get_layer(layer.name)
        read, sources = [stands.get(name, name) for name in sources_of(layer)], sources_of(twin)
        merged = is_convolution(layer) and sources[0] not in left and sources_of(whole.get_layer(sources[0])) == read
        shapes = [[tuple(each.shape) for each in one.weights] for one in (layer, twin)]
        if layer.name in stands or (not merged and (shapes[0] != shapes[1] or read != sources)):
            last = index
    return list(model.layers[last + 1 :])


@dataclass
class ByLabels:
    """Trains by a recipe's ``[train]`` section, with the whole network as teacher beside the labels.

    Attributes:
        recipe: The recipe.
        pools: Annotated pictures, in the order of ``recipe.train.data``.
        whole: The whole network.
        learning_rate: The highest.
        distil: Weight of the teacher.
        seed: Of everything random.
        folder: For the checkpoint of the training under way.
    """

    recipe: Recipe
    pools: tuple[Pool, ...]
    whole: keras.Model
    learning_rate: float
    distil: float
    seed: int
    folder: Path

    def tune(self, model: keras.Model, channels: Channels, steps: int, stands: Stands) -> keras.Model:
        """A trained copy."""
        if not steps:
            return model
        recipe = self._with_steps(steps)
        trainee = SmallTrainee(model, self.whole if self.distil else None, self.distil)
        checkpoint = self.folder / "checkpoint.npz"
        training = Training(recipe, self.pools, checkpoint, lambda source: {}, Teller(steps), trainee)
        source, _ = train(training)
        checkpoint.unlink(missing_ok=True)
        return source.model

    def _with_steps(self, steps: int) -> Recipe:
        plan, trained = self.recipe.train, self.recipe.source
        assert plan is not None
        assert isinstance(trained, TrainedRecipe)
        last = plan.stages[-1]
        stage = Stage(trained.network.size, steps, last.shares, last.mosaic)
        warmup = min(plan.warmup, max(1, steps // 10))
        plan = dataclasses.replace(
            plan,
            stages=(stage,),
            start=None,
            learning_rate=self.learning_rate,
            warmup=warmup,
            seed=self.seed,
            report_every=steps,
            # A short training has less to forget.
            average=min(plan.average, 1 - 1 / (1 + steps / 5)),
        )
        return dataclasses.replace(self.recipe, train=plan, qat=None)
