"""What every importer returns: a float network and the facts needed to run it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runtime.card import DecoderSpec, InputSpec, Labels, Pruning, Source, Thresholds

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class SourceModel:
    """A network read from outside, before pruning, splitting and quantisation.

    Attributes:
        name: Model name, such as ``yolo-fastest-1.1``.
        model: Keras 3 functional model with one ``(1, height, width, 3)`` input. Its outputs are the raw heads, no
            sigmoid, no boxes, in the order of ``decoder.heads``: one tensor each for ``yolo`` (as Darknet interleaves
            it), two each for ``ssd`` (box offsets, then class logits; shapes in ``runtime.decode.ssd``).
        input: How images are fed to it.
        decoder: How its heads become boxes.
        labels: Class names.
        source: Files and licence it came from.
        thresholds: Defaults for the device.
        pruning: What was removed from it, if anything.
    """

    name: str
    model: keras.Model
    input: InputSpec
    decoder: DecoderSpec
    labels: Labels
    source: Source
    thresholds: Thresholds = field(default_factory=Thresholds)
    pruning: Pruning | None = None
