"""What a conversion prints."""

from __future__ import annotations

from collections.abc import Callable

from convert.accuracy_text import accuracy_text
from runtime.card import ModelCard


def teller(name: str) -> Callable[[str], None]:
    """A function that prints progress lines of one model."""
    return lambda message: print(f"{name}: {message}", flush=True)


def print_summary(card: ModelCard, size: int) -> None:
    """The figures of a model file."""
    macs = f", {card.macs / 1e6:.1f} million multiply-accumulates" if card.macs else ""
    print(f"  {size} bytes{macs}")
    if card.delegation:
        took = card.delegation
        print(f"  XNNPACK runs {took.delegated} of {took.total} ops in {took.partitions} partition(s)")
    if not card.accuracy:
        print("  accuracy not measured: no images given")
    for row in card.accuracy:
        print(accuracy_text(row))
