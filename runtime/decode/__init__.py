"""Output tensors to boxes: one module per decoder name of the card. ``classes`` gives classes instead."""

from __future__ import annotations

import importlib
from typing import Protocol

from runtime.card import ModelCard
from runtime.decode.candidates import Candidates
from runtime.engine import Executor, Outputs
from runtime.errors import InputError


class Decoder(Protocol):
    """Turns an executor's outputs into candidates."""

    def decode(self, outputs: Outputs, score: float) -> Candidates:
        """Candidates with a score of at least ``score``, in no particular order, before suppression."""


# Name in the card, which is the module's too: class. A program loads only the one it needs.
_DECODERS = {
    "postprocess": "PostprocessDecoder",
    "ssd": "SsdDecoder",
    "yolo": "YoloDecoder",
    "yolov5": "Yolov5Decoder",
    "yolov8": "Yolov8Decoder",
}


def make_decoder(card: ModelCard, executor: Executor) -> Decoder:
    """The decoder a card asks for, bound to the tensors of an executor.

    Raises:
        InputError: An unknown decoder, or tensors that do not fit the card.
    """
    name = card.decoder.name
    if name not in _DECODERS:
        raise InputError(
            f"the card of {card.name} asks for decoder '{name}'",
            "expected one of " + ", ".join(_DECODERS),
            "install a newer Edgewren",
        )
    decoder: Decoder = getattr(importlib.import_module(f"runtime.decode.{name}"), _DECODERS[name])(card, executor)
    return decoder


__all__ = ["Candidates", "Decoder", "make_decoder"]
