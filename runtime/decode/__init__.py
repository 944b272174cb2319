"""Output tensors to boxes: one module per decoder name of the card. ``classes`` gives classes instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from runtime.card import ModelCard
from runtime.decode.candidates import Candidates
from runtime.decode.postprocess import PostprocessDecoder
from runtime.decode.ssd import SsdDecoder
from runtime.decode.yolo import YoloDecoder
from runtime.decode.yolov5 import Yolov5Decoder
from runtime.decode.yolov8 import Yolov8Decoder
from runtime.engine import Executor
from runtime.errors import InputError


class Decoder(Protocol):
    """Turns an executor's outputs into candidates."""

    def decode(self, executor: Executor, score: float) -> Candidates:
        """Candidates with a score of at least ``score``, in no particular order, before suppression."""


_DECODERS: dict[str, Callable[[ModelCard, Executor], Decoder]] = {
    "postprocess": PostprocessDecoder,
    "ssd": SsdDecoder,
    "yolo": YoloDecoder,
    "yolov5": Yolov5Decoder,
    "yolov8": Yolov8Decoder,
}


def make_decoder(card: ModelCard, executor: Executor) -> Decoder:
    """The decoder a card asks for, bound to the tensors of an executor.

    Raises:
        InputError: An unknown decoder, or tensors that do not fit the card.
    """
    decoder = _DECODERS.get(card.decoder.name)
    if decoder is None:
        raise InputError(
            f"the card of {card.name} asks for decoder '{card.decoder.name}'",
            "expected one of " + ", ".join(_DECODERS),
            "install a newer Edgewren",
        )
    return decoder(card, executor)


__all__ = ["Candidates", "Decoder", "make_decoder"]
