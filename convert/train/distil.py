"""Learning from a network alone: no labels, any pictures.

The student answers for the same augmented pictures as the teacher, and its inner tensors are compared with the
teacher's. Where the teacher sees nothing, only its "nothing" counts; where it sees something, class and box count as
much as it is sure. A student that starts near its teacher needs little: its normalisation is folded, so that a few
hundred pictures cannot upset any statistics.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
from keras import ops

from convert.source import SourceModel
from convert.train.augment import Augmentation, Example, Pixels
from convert.train.feed import Feed, Mixture, compressed, decompressed
from convert.train.hints import Channels, Hints
from convert.train.loss import cross_entropy
from convert.train.memory import keep_memory
from convert.train.targets import Floats, Matching
from runtime.card import InputSpec
from runtime.engine import TensorSpec
from runtime.errors import RunError
from runtime.frame import Frame
from runtime.preprocess import Preprocessor, place

_CLIP_NORM = 10.0


@dataclass(frozen=True)
class Lesson:
    """How a student learns.

    Attributes:
        steps: How many.
        learning_rate: The highest; reached after a tenth of the steps, then a cosine to zero.
        batch: Pictures per step.
        average: Momentum of the moving average of the weights, which is what is kept.
        seed: Of everything random.
        augmentation: How pictures change.
        hints: Weight of the inner tensors, all together, where they correspond.
    """

    steps: int
    learning_rate: float = 3e-4
    batch: int = 8
    average: float = 0.98
    seed: int = 1
    augmentation: Augmentation = field(
        default_factory=lambda: Augmentation(zoom=(0.8, 1.4), aspect=1.2, shift=0.1, flip=True, mosaic=0.2, colour=0.2)
    )
    hints: float = 20.0


class Pictures:
    """Pictures without labels, in memory.

    Args:
        paths: Image files.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._items = [compressed(path) for path in paths]

    def __len__(self) -> int:
        return len(self._items)

    @property
    def digest(self) -> bytes:
        """Hash of all of them."""
        return hashlib.sha256(b"".join(hashlib.sha256(item.tobytes()).digest() for item in self._items)).digest()

    def __getitem__(self, index: int) -> Example:
        nothing = np.zeros((0, 4), np.float32), np.zeros(0, np.int32), np.zeros(0, np.bool_)
        return Example(decompressed(self._items[index]), *nothing)


def distil(
    student: SourceModel,
    teacher: keras.Model,
    pictures: Pictures,
    lesson: Lesson,
    progress: Callable[[int, int], None] | None = None,
    channels: Channels | None = None,
    stands: Mapping[str, str] | None = None,
) -> None:
    """Trains a student to answer as its teacher does, in place.

    Args:
        student: A detector whose model is trained.
        teacher: A network with the same outputs.
        pictures: What both look at.
        lesson: How.
        progress: Called with (done, total) steps.
        channels: By layer name, which of the teacher's channels the student has left; with it, inner tensors are
            compared as well.
        stands: By layer name, the teacher's layer it is compared with, where that has another name.

    Raises:
        RunError: The loss is no longer a number.
    """
    keep_memory()
    keras.utils.set_random_seed(lesson.seed)
    hints = Hints(student.model, teacher, channels or {}, stands)
    whole = hints.asked(flat_heads(student, student.model))
    answers = hints.taught(flat_heads(student, teacher))
    _, first = next(lesson_inputs(student.input, pictures, lesson))
    warmup = max(1, lesson.steps // 10)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, max(1, lesson.steps - warmup), warmup_target=lesson.learning_rate, warmup_steps=warmup
    )
    whole.compile(
        optimizer=keras.optimizers.Adam(rate, global_clipnorm=_CLIP_NORM),
        loss=[_answer_loss(student), *hints.losses(first)],
        loss_weights=[1.0, *[lesson.hints / max(1, len(hints))] * len(hints)],
        jit_compile=keras.backend.backend() == "jax",
    )
    averages = [weight.copy() for weight in whole.get_weights()]
    for step, images in lesson_inputs(student.input, pictures, lesson):
        wanted = answers.predict_on_batch(images)
        loss = float(np.ravel(whole.train_on_batch(images, wanted))[0])
        if not np.isfinite(loss):
            raise RunError(f"the loss is {loss} at step {step}", "expected a number", "lower the learning rate")
        momentum = min(lesson.average, (1 + step) / (10 + step))
        for average, weight in zip(averages, whole.get_weights(), strict=True):
            average += (1 - momentum) * (weight - average)
        if progress:
            progress(step + 1, lesson.steps)
    whole.set_weights(averages)


def _answer_loss(student: SourceModel) -> AnswerLoss:
    return AnswerLoss(objectness=student.decoder.name == "yolo", softmax=student.decoder.activation == "softmax")


def lesson_inputs(spec: InputSpec, pictures: Pictures, lesson: Lesson) -> Iterator[tuple[int, Floats]]:
    """What a student looks at: augmented pictures, in the shape in which the device will show it pictures.

    Args:
        spec: Its input; where that is letterboxed, pictures get their borders before they are augmented.
        pictures: What they are made of.
        lesson: How.

    Yields:
        Steps from 0, and ``(batch, height, width, 3)`` inputs.
    """
    side = max(spec.width, spec.height)
    square = dataclasses.replace(spec, width=side, height=side)
    mixture = Mixture((_Placed(pictures, spec),), (1.0,))
    nowhere = np.zeros((1, 4), np.float32)
    feed = Feed(mixture, lesson.augmentation, square, nowhere, Matching(), lesson.batch, lesson.seed)
    for step, batch in feed.batches(0, lesson.steps):
        yield step, _fitted(batch.images, spec)


@dataclass(frozen=True)
class _Placed:
    """Pictures with the aspect ratio of an input, as the device gives it to them."""

    pictures: Pictures
    spec: InputSpec

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> Example:
        example = self.pictures[index]
        return dataclasses.replace(example, pixels=_placed(example.pixels, self.spec))


def _placed(pixels: Pixels, spec: InputSpec) -> Pixels:
    """A picture between the borders of an input, or cut as for it, at its own resolution."""
    if spec.resize == "stretch":
        return pixels
    height, width = pixels.shape[:2]
    # The augmentation magnifies: an input's worth of pixels would be too few for it.
    scale = min(place(spec, width, height).scale)
    size = (max(1, round(spec.width / scale)), max(1, round(spec.height / scale)))
    canvas = dataclasses.replace(spec, width=size[0], height=size[1], color="bgr", scale=(1.0,), offset=(0.0,))
    result = np.empty((1, size[1], size[0], 3), np.uint8)
    Preprocessor(canvas, TensorSpec(spec.name, result.shape, result.dtype)).write(Frame(pixels), result)
    return np.asarray(result[0])


def _fitted(images: Floats, spec: InputSpec) -> Floats:
    """Square pictures as an input takes them that need not be square."""
    if images.shape[1:3] == (spec.height, spec.width):
        return images
    size = (spec.width, spec.height)
    return np.stack([cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in images])


def flat_heads(source: SourceModel, model: keras.Model) -> keras.Model:
    """A detector whose raw heads are one tensor ``(b, n, values of an anchor)``.

    Args:
        source: Says how its heads are laid out.
        model: A network with these heads.
    """
    parts: list[Any] = []
    heads = source.decoder.heads
    per_head = len(model.outputs) // len(heads)
    for index, head in enumerate(heads):
        tensors = model.outputs[per_head * index : per_head * (index + 1)]
        rows = [keras.layers.Reshape((-1, t.shape[-1] // len(head.anchors)))(t) for t in tensors]
        parts.append(rows[0] if len(rows) == 1 else keras.layers.Concatenate(axis=-1)(rows))
    return keras.Model(model.inputs, parts[0] if len(parts) == 1 else keras.layers.Concatenate(axis=1)(parts))


class AnswerLoss(keras.losses.Loss):  # type: ignore[misc]
    """How far a student's raw answers are from its teacher's.

    Args:
        objectness: Whether a logit for "something" stands between box and classes.
        softmax: Whether classes are a softmax, background first.

    Called with two tensors ``(b, n, 4 [+ 1] + classes)``.
    """

    def __init__(self, objectness: bool, softmax: bool = False) -> None:
        super().__init__(name="answers")
        self._objectness, self._softmax = objectness, softmax

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss, a scalar: per object the teacher sees."""
        first = 5 if self._objectness else 4
        taught, asked = y_true[..., first:], y_pred[..., first:]
        if self._softmax:
            wanted = ops.softmax(taught)
            seen = 1.0 - wanted[..., 0]
            surprise = ops.sum(wanted * (ops.log_softmax(taught) - ops.log_softmax(asked)), axis=-1)
            classes = ops.sum(surprise)
        else:
            wanted = ops.sigmoid(taught)
            # What is left of the cross entropy when the student answers alike is not the student's.
            gap = ops.sum(cross_entropy(asked, wanted) - cross_entropy(taught, wanted), axis=-1)
            seen = ops.sigmoid(y_true[..., 4]) if self._objectness else ops.max(wanted, axis=-1)
            classes = ops.sum(gap * seen if self._objectness else gap)
        boxes = ops.sum(seen * ops.sum(_huber(y_pred[..., :4] - y_true[..., :4]), axis=-1))
        something = 0.0
        if self._objectness:
            taught, asked = y_true[..., 4], y_pred[..., 4]
            something = ops.sum(cross_entropy(asked, seen) - cross_entropy(taught, seen))
        return (something + classes + boxes) / ops.maximum(ops.sum(seen), 1.0)


def _huber(difference: Any) -> Any:
    size = ops.abs(difference)
    return ops.where(size < 1.0, 0.5 * size * size, size - 0.5)
