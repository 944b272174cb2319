"""The training loop: stages, schedule, moving average, checkpoints and reports.

Only Keras is used, so the same loop runs on TensorFlow, on JAX and on PyTorch, on a CPU or on a GPU.
"""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np

from convert.recipe import Recipe
from convert.source import SourceModel
from convert.train.checkpoint import State, load_state, save_state
from convert.train.feed import Feed, Mixture, Pool
from convert.train.loss import MultiboxLoss
from convert.train.memory import keep_memory
from convert.train.recipe import Stage, TrainRecipe
from convert.train.targets import anchor_boxes
from convert.train.trainee import FloatTrainee, Trainee, joined
from runtime.errors import RunError

# A checkpoint costs a fraction of a second; a kill then costs at most this much work.
_SAVE_EVERY_S = 60.0
_CLIP_NORM = 10.0

Report = Callable[[SourceModel], dict[str, float]]
Progress = Callable[[State, float, float], None]


@dataclass(frozen=True)
class Training:
    """One training to do.

    Attributes:
        recipe: With a ``[train]`` section.
        pools: Annotated pictures, in the order of ``recipe.train.data``.
        checkpoint: Where its state is kept.
        measure: Accuracy of the averaged network; called now and then and at the end.
        progress: Called after every step with state, loss and steps per second.
        trainee: What is trained; by default the float network from random weights.
    """

    recipe: Recipe
    pools: tuple[Pool, ...]
    checkpoint: Path
    measure: Report
    progress: Progress
    trainee: Trainee = field(default_factory=FloatTrainee)

    @property
    def plan(self) -> TrainRecipe:
        """The ``[train]`` section."""
        assert self.recipe.train is not None
        return self.recipe.train

    @cached_property
    def key(self) -> str:
        """Identifies the training: a checkpoint of another one is not continued."""
        digest = hashlib.sha256(repr((self.recipe.source, self.recipe.train)).encode())
        for pool in self.pools:
            digest.update(pool.digest)
        digest.update(self.trainee.key)
        return digest.hexdigest()


def train(training: Training) -> tuple[SourceModel, State]:
    """Trains, or goes on where a killed training stopped.

    Returns:
        The network with averaged weights at the recipe's own input size, and the final state with its log.

    Raises:
        RunError: The loss is no longer a number.
        InputError: A checkpoint is damaged, or the start weights do not fit.
    """
    keep_memory()
    keras.utils.set_random_seed(training.plan.seed)
    state = load_state(training.checkpoint, training.key)
    last = 0
    for stage in training.plan.stages:
        last += stage.steps
        if state is None or state.step < last:
            state = _run_stage(training, stage, last, state)
    assert state is not None
    return _averaged(training, state), state


class _Stepper:
    """Network and optimiser of one stage."""

    def __init__(self, training: Training, size: int) -> None:
        self.plan, self.trainee = training.plan, training.trainee
        self.source = self.trainee.build(training.recipe, size)
        self.model = self.source.model
        self.anchors = anchor_boxes(self.source.decoder.heads, size, size)

    def compile(self) -> None:
        """Joins the heads into one tensor and adds loss and optimiser."""
        plan = self.plan
        self.model = self.trainee.quick(self.model)
        self.whole = joined(self.model, len(self.source.labels.names))
        decay = max(1, plan.steps - plan.warmup)
        rate = keras.optimizers.schedules.CosineDecay(
            0.0, decay, warmup_target=plan.learning_rate, warmup_steps=plan.warmup
        )
        optimizer = keras.optimizers.AdamW(rate, weight_decay=plan.weight_decay, global_clipnorm=_CLIP_NORM)
        optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
        variances = self.source.decoder.variances
        loss = MultiboxLoss(self.anchors, variances, plan.class_loss, plan.box_loss, plan.box_weight)
        # XLA gains nothing here on a CPU; on JAX it is the only way and always on.
        jit = keras.backend.backend() == "jax"
        self.whole.compile(optimizer=optimizer, loss=self.trainee.loss(loss), jit_compile=jit)
        optimizer.build(self.whole.trainable_variables)

    def load(self, state: State) -> None:
        """Takes over weights and optimiser variables."""
        self.model.set_weights(state.weights)
        for variable, value in zip(self.whole.optimizer.variables, state.optimizer, strict=True):
            variable.assign(value)

    def store(self, state: State) -> None:
        """Gives back what :meth:`load` takes."""
        state.weights = self.model.get_weights()
        state.optimizer = [np.asarray(keras.ops.convert_to_numpy(v)) for v in self.whole.optimizer.variables]


def _begin(stepper: _Stepper, training: Training) -> State:
    """The state before the first step."""
    training.trainee.start(stepper.model)
    weights = stepper.model.get_weights()
    return State(0, weights, [weight.copy() for weight in weights], [])


def _run_stage(training: Training, stage: Stage, last: int, state: State | None) -> State:
    plan, trainee = training.plan, training.trainee
    stepper = _Stepper(training, stage.size)
    state = _begin(stepper, training) if state is None else state
    stepper.compile()
    if state.optimizer:
        stepper.load(state)
    feed = _feed(training, stage, stepper)
    saved, begun = time.monotonic(), time.monotonic()
    start, before = state.step, state.seconds
    losses: list[float] = []
    averaged = trainee.averaged(stepper.model)
    for step, batch in feed.batches(state.step, last):
        trainee.before(stepper.model, step)
        targets = trainee.targets(batch.images, batch.targets)
        loss = float(np.asarray(stepper.whole.train_on_batch(batch.images, targets)))
        if not np.isfinite(loss):
            raise RunError(f"the loss is {loss} at step {step}", "expected a number", "lower train.learning_rate")
        losses.append(loss)
        state.step = step + 1
        _average(state, stepper.model.get_weights(), plan.average, averaged)
        now = time.monotonic()
        state.seconds = before + now - begun
        training.progress(state, loss, (state.step - start) / (now - begun))
        if state.step % plan.report_every == 0 or state.step == plan.steps:
            measured = training.measure(_averaged(training, state))
            state.log.append({"step": state.step, "size": stage.size, "loss": float(np.mean(losses)), **measured})
            losses.clear()
        if now - saved > _SAVE_EVERY_S or state.step == last:
            stepper.store(state)
            save_state(training.checkpoint, state, training.key)
            saved = time.monotonic()
    return state


def _feed(training: Training, stage: Stage, stepper: _Stepper) -> Feed:
    plan = training.plan
    shares = stage.shares or tuple(data.share for data in plan.data)
    used = [(pool, share) for pool, share in zip(training.pools, shares, strict=True) if share > 0]
    augmentation = plan.augmentation
    if stage.mosaic is not None:
        augmentation = dataclasses.replace(augmentation, mosaic=stage.mosaic)
    return Feed(
        Mixture(tuple(pool for pool, _ in used), tuple(share for _, share in used)),
        augmentation,
        stepper.source.input,
        stepper.anchors,
        plan.matching,
        plan.batch,
        plan.seed,
    )


def _average(state: State, weights: list[Any], momentum: float, averaged: list[bool]) -> None:
    """Moves the averages; early on faster, so that they do not remember the random start."""
    momentum = min(momentum, (1 + state.step) / (10 + state.step))
    for average, weight, moves in zip(state.averages, weights, averaged, strict=True):
        average[...] = average + (1 - momentum) * (weight - average) if moves else weight


def _averaged(training: Training, state: State) -> SourceModel:
    """The averaged network at the recipe's own size."""
    source = training.trainee.build(training.recipe)
    source.model.set_weights(state.averages)
    return source
