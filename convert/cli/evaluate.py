"""``python -m convert evaluate``: accuracy on annotated images, and agreement with a reference."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from convert.cli.evaluate_classes import run_classes
from convert.cli.report import print_table
from runtime.commandline import Notes


def add_parser(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    """Adds the command."""
    parser = commands.add_parser("evaluate", help="measure accuracy on annotated images")
    parser.add_argument("model", type=Path, metavar="MODEL", help="a .tflite, a float network (.cfg), or a recipe")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="annotated images, or one class each")
    parser.add_argument("--strict", action="store_true", help="refuse --data when anything is wrong with it")
    parser.add_argument("--weights", type=Path, metavar="F", help="weights of the network (default: beside it)")
    parser.add_argument("--labels", type=Path, metavar="F", help="class names, one per line (default: the model's)")
    parser.add_argument("--reference", type=Path, metavar="FLOAT", help="a float network or model to compare with")
    parser.add_argument("--resize", choices=("stretch", "letterbox"), help="how images are fitted to a .cfg")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command."""
    from convert.data import open_data, uncounted
    from convert.evaluate.agreement import agreement_f1
    from convert.evaluate.detection import average_precision, predict
    from convert.evaluate.models import open_detector, open_model
    from convert.progress import Progress
    from runtime.classifier import Classifier

    detector = open_model(arguments.model, arguments.labels, arguments.weights, resize=arguments.resize)
    if isinstance(detector, Classifier):
        return run_classes(arguments, detector)
    dataset = open_data(arguments.data, arguments.strict)
    if text := uncounted(dataset, detector.labels):
        print(text, file=sys.stderr)
    reference = None
    if arguments.reference:
        reference = open_detector(
            arguments.reference, arguments.labels, arguments.weights, detector.card, arguments.resize
        )
    predictions = predict(detector, dataset, Progress(arguments.model.name))
    for model in (detector, reference):
        if model:
            Notes(model.card).tell()
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
