"""What a conversion prints."""

from __future__ import annotations

from collections.abc import Callable

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
        print("  accuracy not measured: no annotated images given")
    for row in card.accuracy:
        print(f"  accuracy on {row.images} images of {row.dataset} ({row.settings})")
        print_table(
            [
                ("float", row.float_map50, row.float_map50_95, None),
                ("int8", row.int8_map50, row.int8_map50_95, row.agreement_f1),
            ]
        )


def print_table(rows: list[tuple[str, float, float, float | None]]) -> None:
    """Name, AP50, AP50-95 and agreement F1 (all in percent), one line per network; drops against the first row."""
    width = max(len(name) for name, *_ in rows)
    print(f"  {'':{width}}    AP50  AP50-95  agreement F1")
    first = rows[0]
    for index, (name, map50, map50_95, agreement) in enumerate(rows):
        shown = "" if agreement is None else f"{agreement:12.1f}"
        print(f"  {name:{width}}  {map50:6.1f}  {map50_95:7.1f}  {shown}")
        if index:
            print(f"  {'drop':{width}}  {first[1] - map50:6.1f}  {first[2] - map50_95:7.1f}")
