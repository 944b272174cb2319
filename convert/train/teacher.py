"""Learning from another network's answers (Hinton et al., arXiv:1503.02531)."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from convert.train.loss import cross_entropy
from convert.train.qat_network import copy_weights
from convert.train.targets import TARGET_SIZE, Floats
from convert.train.trainee import joined


class Teacher:
    """A detector with box and class heads whose answers another one learns.

    Args:
        model: ``box, class, box, class, ..``, as :func:`convert.models.ssd.ssd` builds it.
    """

    def __init__(self, model: keras.Model) -> None:
        self._model = model
        self._whole: dict[int, keras.Model] = {}

    def beside(self, images: Floats, targets: Floats) -> Floats:
        """Labels' targets ``(b, n, 5)`` with the teacher's raw offsets and logits behind: ``(b, n, 9 + classes)``."""
        size = images.shape[1]
        if size not in self._whole:
            self._whole[size] = self._at(size, targets.shape[1])
        answers = np.asarray(self._whole[size].predict_on_batch(images), np.float32)
        return np.concatenate([targets, answers], axis=-1)

    def _at(self, size: int, anchors: int) -> keras.Model:
        copy = resized_model(self._model, size)
        boxes, classes = copy.outputs[::2], copy.outputs[1::2]
        whole = sum(int(np.prod(box.shape[1:])) // 4 for box in boxes)
        if whole != anchors:
            raise ValueError(f"the teacher has {whole} anchors at {size} pixels, the labels {anchors}")
        return joined(copy, classes[0].shape[-1] // (boxes[0].shape[-1] // 4))


def resized_model(model: keras.Model, size: int) -> keras.Model:
    """The same network for a square input of another size, with the same weights."""
    name, channels = model.inputs[0].name, model.inputs[0].shape[-1]
    copy = keras.models.clone_model(model, keras.Input((size, size, channels), name=name))
    copy_weights(model, copy)
    return copy


class Distilled(keras.losses.Loss):  # type: ignore[misc]
    """A detection loss that also asks for a teacher's answers.

    Args:
        plain: The loss for labels.
        weight: Of the teacher.

    Called with targets ``(b, n, 5 + 4 + classes)``, labels and the teacher's raw offsets and logits, and predictions
    ``(b, n, 4 + classes)``. Classes are asked for as the quality focal loss does, with the teacher's probability as
    quality; box offsets where the teacher sees something.
    """

    def __init__(self, plain: keras.losses.Loss, weight: float) -> None:
        super().__init__(name="distilled")
        self._plain, self._weight = plain, weight

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss, a scalar."""
        taught, wanted = y_true[..., TARGET_SIZE : TARGET_SIZE + 4], ops.sigmoid(y_true[..., TARGET_SIZE + 4 :])
        offsets, logits = y_pred[..., :4], y_pred[..., 4:]
        classes = ops.sum(ops.square(wanted - ops.sigmoid(logits)) * cross_entropy(logits, wanted))
        seen = ops.max(wanted, axis=-1)
        boxes = ops.sum(seen * ops.sum(ops.abs(offsets - taught), axis=-1))
        teacher = (classes + boxes) / ops.maximum(ops.sum(seen), 1.0)
        return self._plain.call(y_true[..., :TARGET_SIZE], y_pred) + self._weight * teacher
