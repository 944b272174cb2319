"""``python -m convert show``: what a model file can do and what it costs, in one short table."""

from __future__ import annotations

import argparse
from pathlib import Path

from runtime.commandline import count


def add_parser(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    """Adds the command."""
    parser = commands.add_parser("show", help="accuracy, bytes, milliseconds and delegation of model files")
    parser.add_argument("models", type=Path, nargs="+", metavar="MODEL", help="a model file made by convert")
    parser.add_argument("--runs", type=count, default=100, help="timed rounds (default: 100)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command."""
    from convert.accuracy_text import figure
    from runtime.modelfile import require_card

    # All cards first: a wrong file is told before anything is timed.
    cards = [require_card(path) for path in arguments.models]

    from runtime.bench import bench

    timed = bench(arguments.models, [1], arguments.runs)
    width = max(5, *(len(card.name) for card in cards))
    print(f"  {'model':{width}}  AP50 float  AP50 int8  AP50-95 int8     bytes  ms/frame  in XNNPACK")
    for path, card, row in zip(arguments.models, cards, timed, strict=True):
        accuracy = card.accuracy[0] if card.accuracy else None
        figures = (accuracy.float_map50, accuracy.int8_map50, accuracy.int8_map50_95) if accuracy else ()
        shown = [figure(value) for value in figures] or ["-"] * 3
        took = f"{card.delegation.delegated}/{card.delegation.total} ops" if card.delegation else "-"
        print(
            f"  {card.name:{width}}  {shown[0]:>10}  {shown[1]:>9}  {shown[2]:>12}  {path.stat().st_size:>8}"
            f"  {row['end_to_end_ms']['median']:>8.2f}  {took:>10}"
        )
    sets = sorted({f"{card.name}: {a.images} images of {a.dataset}" for card in cards for a in card.accuracy[:1]})
    print(f"  accuracy on {'; '.join(sets) or 'nothing'}")
    print(f"  milliseconds: one thread of {timed[0]['machine']}, {timed[0]['provider']}, median of {arguments.runs}")
    return 0
