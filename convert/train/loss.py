"""The multibox loss, in Keras operations alone, so that it runs on every backend.

Boxes: smooth L1 on SSD's encoded offsets (Liu et al., arXiv:1512.02325, section 2.2) or generalised IoU on the decoded
boxes (Rezatofighi et al., arXiv:1902.09630). Classes: focal loss on independent sigmoids (Lin et al.,
arXiv:1708.02002), the quality focal loss that asks for the IoU of the predicted box instead of 1 (Li et al.,
arXiv:2006.04388), so that well-placed boxes score higher, or softmax with background and hard negative mining (SSD).
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from convert.train.recipe import BoxLoss, ClassLoss
from convert.train.targets import EMPTY, Floats, corners

_FOCUS = 2.0
# Focal loss with hard targets weighs the rare objects less than the easy background (its alpha).
_ALPHA = 0.25
# SSD keeps three empty anchors per object.
_NEGATIVES = 3.0
_TINY = 1e-7


class MultiboxLoss(keras.losses.Loss):  # type: ignore[misc]
    """Sum of class and box loss per matched anchor.

    Args:
        anchors: ``(n, 4)``, centre and size in pixels.
        variances: Scale of centre and size offsets.
        class_loss: How classes are asked for. With ``hard-negative``, class 0 of the network is background.
        box_loss: How boxes are asked for.
        box_weight: Weight of the box loss.

    Called with targets ``(b, n, 5)`` (:func:`convert.train.targets.make_targets`) and predictions
    ``(b, n, 4 + classes)``, raw offsets and logits.
    """

    def __init__(
        self,
        anchors: Floats,
        variances: tuple[float, float],
        class_loss: ClassLoss = "quality",
        box_loss: BoxLoss = "giou",
        box_weight: float = 2.0,
    ) -> None:
        super().__init__(name="multibox")
        self._centre, self._size = anchors[:, :2], anchors[:, 2:]
        self._anchor_corners = corners(anchors)
        self._variances = variances
        self._class_loss, self._box_loss, self._box_weight = class_loss, box_loss, box_weight

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss, a scalar."""
        target, label = y_true[..., :4], ops.cast(ops.round(y_true[..., 4]), "int32")
        offsets, logits = y_pred[..., :4], y_pred[..., 4:]
        positive = ops.cast(label >= 0, "float32")
        known = ops.cast(label >= EMPTY, "float32")
        # Anchors without an object have no box; theirs stands in, so that no logarithm sees a zero.
        target = ops.where(label[..., None] >= 0, target, self._anchor_corners[None])
        boxes = decode_boxes(offsets, self._centre, self._size, self._variances)
        iou, giou = overlap(boxes, target)
        count = ops.maximum(ops.sum(positive), 1.0)
        box = 1.0 - giou if self._box_loss == "giou" else self._offset_loss(offsets, target)
        classes = self._classes(logits, label, positive, known, ops.stop_gradient(iou))
        return (classes + self._box_weight * ops.sum(box * positive)) / count

    def _classes(self, logits: Any, label: Any, positive: Any, known: Any, iou: Any) -> Any:
        if self._class_loss == "hard-negative":
            return _hard_negative(logits, label, positive, known)
        wanted = ops.one_hot(ops.maximum(label, 0), logits.shape[-1]) * positive[..., None]
        if self._class_loss == "quality":
            wanted = wanted * ops.maximum(iou, 0.0)[..., None]
            weight = ops.abs(wanted - ops.sigmoid(logits)) ** _FOCUS
        else:
            weight = ops.abs(wanted - ops.sigmoid(logits)) ** _FOCUS * (wanted * (2 * _ALPHA - 1) + 1 - _ALPHA)
        return ops.sum(weight * cross_entropy(logits, wanted) * known[..., None])

    def _offset_loss(self, offsets: Any, target: Any) -> Any:
        """Smooth L1 between raw offsets and those that would decode to the target."""
        centre = (target[..., :2] + target[..., 2:]) / 2
        size = ops.maximum(target[..., 2:] - target[..., :2], 1e-3)
        wanted = (centre - self._centre) / self._size / self._variances[0], ops.log(size / self._size)
        encoded = ops.concatenate([wanted[0], wanted[1] / self._variances[1]], axis=-1)
        return ops.sum(_smooth_l1(offsets - encoded), axis=-1)


def decode_boxes(offsets: Any, centre: Floats, size: Floats, variances: tuple[float, float]) -> Any:
    """Corners of predicted boxes: ``(b, n, 4)`` raw offsets to pixels, as the device decodes them."""
    middle = centre + offsets[..., :2] * (variances[0] * size)
    # Keeps a wild prediction of the first steps from overflowing.
    half = size * ops.exp(ops.clip(offsets[..., 2:] * variances[1], -8.0, 8.0)) / 2
    return ops.concatenate([middle - half, middle + half], axis=-1)


def overlap(first: Any, second: Any) -> tuple[Any, Any]:
    """IoU and generalised IoU of boxes in pairs, ``(.., 4)`` corners each."""
    low, high = ops.maximum(first[..., :2], second[..., :2]), ops.minimum(first[..., 2:], second[..., 2:])
    common = ops.prod(ops.maximum(high - low, 0.0), axis=-1)
    union = _area(first) + _area(second) - common
    hull_low, hull_high = ops.minimum(first[..., :2], second[..., :2]), ops.maximum(first[..., 2:], second[..., 2:])
    hull = ops.prod(hull_high - hull_low, axis=-1)
    iou = common / ops.maximum(union, _TINY)
    return iou, iou - (hull - union) / ops.maximum(hull, _TINY)


def _area(boxes: Any) -> Any:
    return ops.prod(ops.maximum(boxes[..., 2:] - boxes[..., :2], 0.0), axis=-1)


def _smooth_l1(difference: Any) -> Any:
    size = ops.abs(difference)
    return ops.where(size < 1.0, 0.5 * size * size, size - 0.5)


def cross_entropy(logits: Any, wanted: Any) -> Any:
    """Binary cross entropy of sigmoid(logits), stable for large logits."""
    return ops.relu(logits) - logits * wanted + ops.log1p(ops.exp(-ops.abs(logits)))


def _hard_negative(logits: Any, label: Any, positive: Any, known: Any) -> Any:
    """Softmax cross entropy of all objects and of the empty anchors that look most like one."""
    wanted = ops.maximum(label, -1) + 1
    entropy = ops.logsumexp(logits, axis=-1) - ops.sum(logits * ops.one_hot(wanted, logits.shape[-1]), axis=-1)
    empty = entropy * known * (1.0 - positive)
    keep = _NEGATIVES * ops.maximum(ops.sum(positive, axis=1, keepdims=True), 1.0)
    rank = ops.argsort(ops.argsort(-empty, axis=1), axis=1)
    hard = ops.cast(ops.cast(rank, "float32") < keep, "float32")
    return ops.sum(entropy * positive) + ops.sum(ops.stop_gradient(hard) * empty)
