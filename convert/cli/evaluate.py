"""``python -m convert evaluate``: average precision, and agreement with a float reference."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from convert.cli.report import print_table

if TYPE_CHECKING:
    from runtime.card import ModelCard
    from runtime.detector import Detector


def add_parser(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    """Adds the command."""
    parser = commands.add_parser("evaluate", help="measure accuracy on annotated images")
    parser.add_argument("model", type=Path, metavar="MODEL", help="a model file, or a float network (.cfg)")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="annotated images: COCO, VOC, YOLO")
    parser.add_argument("--strict", action="store_true", help="refuse --data when anything is wrong with it")
    parser.add_argument("--weights", type=Path, metavar="F", help="weights of the .cfg (default: beside it)")
    parser.add_argument("--labels", type=Path, metavar="F", help="class names of the .cfg (default: beside it)")
    parser.add_argument("--reference", type=Path, metavar="FLOAT", help="a float network or model to compare with")
    parser.add_argument("--resize", choices=("stretch", "letterbox"), help="how images are fitted to a .cfg")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command."""
    from convert.data import open_data, uncounted
    from convert.evaluate.agreement import agreement_f1
    from convert.evaluate.detection import average_precision, predict
    from convert.progress import Progress

    dataset = open_data(arguments.data, arguments.strict)
    detector = _open(arguments.model, arguments)
    if text := uncounted(dataset, detector.labels):
        print(text, file=sys.stderr)
    reference = _open(arguments.reference, arguments, detector.card) if arguments.reference else None
    predictions = predict(detector, dataset, Progress(arguments.model.name))
    measured = average_precision(predictions, dataset, detector.labels)
    rows: list[tuple[str, float, float, float | None]] = []
    facts: dict[str, object] = {
        "model": str(arguments.model),
        "data": dataset.name,
        "images": len(dataset.truths),
        "skipped_images": dataset.skipped,
        "unlabelled_images": dataset.unlabelled,
        **{name: round(value, 2) for name, value in measured.items()},
    }
    agreement = None
    if reference:
        theirs = predict(reference, dataset, Progress(arguments.reference.name))
        expected = average_precision(theirs, dataset, reference.labels)
        agreement = agreement_f1(predictions, theirs)
        facts["agreement_f1"] = round(agreement, 2)
        facts["reference"] = {
            "model": str(arguments.reference),
            **{name: round(value, 2) for name, value in expected.items()},
        }
        rows.append((f"reference {arguments.reference.name}", expected["map50"], expected["map50_95"], None))
    rows.append((arguments.model.name, measured["map50"], measured["map50_95"], agreement))
    if arguments.json:
        print(json.dumps(facts, indent=1))
        return 0
    print(f"{len(dataset.truths)} images of {dataset.name} ({dataset.unlabelled} without a label file)")
    print_table(rows)
    return 0


def _open(path: Path, arguments: argparse.Namespace, like: ModelCard | None = None) -> Detector:
    """A detector over a model file, or over a float network through the same steps.

    Args:
        path: The file.
        arguments: The command line.
        like: A card whose input and thresholds a float network takes over, so that only the numbers' width differs.
    """
    from runtime.detector import Detector

    if path.suffix.lower() == ".tflite":
        return Detector.open(path)
    from convert.importers import load_source

    size = (like.input.width, like.input.height) if like else None
    source = load_source(path, arguments.weights, arguments.labels, size)

    from convert.cards import make_card
    from convert.evaluate.keras_executor import KerasExecutor
    from convert.quantize.heads import split_heads

    split = split_heads(source)
    card = make_card(source, split.bindings)
    if like:
        card = dataclasses.replace(card, input=like.input, thresholds=like.thresholds)
    elif arguments.resize:
        card = dataclasses.replace(card, input=dataclasses.replace(card.input, resize=arguments.resize))
    return Detector(card, KerasExecutor(split, card.input))
