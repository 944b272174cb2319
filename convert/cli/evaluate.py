"""``python -m convert evaluate``: accuracy on annotated images, and how a network compares with a reference."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from convert.budget import check_row, require_accuracy, require_detections, require_objects
from convert.cli.detection_report import (
    comparison_facts,
    print_classes,
    print_comparison,
    print_counts,
    print_scores,
    score_facts,
)
from convert.cli.evaluate_classes import run_classes
from convert.recipe import Budget
from runtime.card import Accuracy
from runtime.commandline import Notes, fraction, percent
from runtime.errors import InputError

if TYPE_CHECKING:
    from convert.data import Dataset
    from convert.evaluate.measure import Comparison, Measured
    from runtime.detector import Detector


_VOC_IOU = 0.5


def add_parser(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    """Adds the command."""
    parser = commands.add_parser("evaluate", help="measure accuracy, or how far two networks agree")
    parser.add_argument(
        "model", type=Path, metavar="MODEL", help="a .tflite, a float network (.cfg, .keras), or a recipe"
    )
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        metavar="DIR",
        help="images: annotated, one folder per class or, with --reference, plain",
    )
    parser.add_argument("--strict", action="store_true", help="refuse --data when anything is wrong with it")
    parser.add_argument(
        "--weights",
        type=Path,
        metavar="F",
        help="weights of MODEL, or of FLOAT where MODEL is a .tflite (default: beside it)",
    )
    parser.add_argument("--labels", type=Path, metavar="F", help="class names, one per line (default: the model's)")
    parser.add_argument("--reference", type=Path, metavar="FLOAT", help="a float network or model to compare with")
    parser.add_argument("--resize", choices=("stretch", "letterbox"), help="how images are fitted to a .cfg")
    parser.add_argument("--iou", type=overlap, metavar="X", help=f"overlap for Pascal VOC's AP (default {_VOC_IOU})")
    parser.add_argument(
        "--max-drop", type=percent, metavar="POINTS", help="with --reference: most AP50 below it; status 3 beyond"
    )
    parser.add_argument(
        "--min-agreement", type=percent, metavar="PERCENT", help="with --reference: least agreement F1 with it"
    )
    parser.add_argument("--per-class", action="store_true", help="print a line for each class too")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command."""
    from convert.data import uncounted
    from convert.evaluate.models import open_detector, open_model
    from runtime.classifier import Classifier

    budget = _budget(arguments)
    _refuse_unused(arguments)
    labels, weights = arguments.labels, arguments.weights
    detector = open_model(arguments.model, labels, weights, resize=arguments.resize)
    if isinstance(detector, Classifier):
        _refuse_for_classifiers(arguments, budget)
        return run_classes(arguments, detector)
    dataset = _read_data(arguments)
    if budget and budget.max_drop is not None:
        require_objects(dataset)
    note = uncounted(dataset, detector.labels)
    reference = None
    if arguments.reference:
        # A network and itself with other weights must not become the same network twice.
        theirs = weights if arguments.model.suffix.lower() == ".tflite" else None
        reference = open_detector(arguments.reference, labels, theirs, detector.card, arguments.resize)
    if note:
        print(note, file=sys.stderr)
    measured = _measure(detector, arguments.model, dataset, arguments)
    expected = _measure(reference, arguments.reference, dataset, arguments) if reference else None
    for model in (detector, reference):
        if model:
            Notes(model.card).tell()
    _report(arguments, dataset, measured, expected)
    if budget and expected:
        _check(budget, dataset, measured, expected)
    return 0


def _budget(arguments: argparse.Namespace) -> Budget | None:
    """What the model may lose against its reference.

    Raises:
        InputError: There is none to compare with.
    """
    budget = Budget(arguments.max_drop, arguments.min_agreement)
    if budget == Budget():
        return None
    if arguments.reference is None:
        flag = "--max-drop" if budget.max_drop is not None else "--min-agreement"
        raise InputError(
            f"{flag} without --reference", "a loss is one against another network", "add --reference FLOAT"
        )
    return budget


def _refuse_unused(arguments: argparse.Namespace) -> None:
    """A flag that changes nothing is a figure that is taken for another.

    Raises:
        InputError: A flag for float networks, and none is given.
    """
    if any(path.suffix.lower() != ".tflite" for path in (arguments.model, arguments.reference) if path):
        return
    for flag, value in (("--resize", arguments.resize), ("--weights", arguments.weights)):
        if value:
            raise InputError(
                f"{flag} with {arguments.model}", "a .tflite file has this in it already", f"leave out {flag}"
            )


def _refuse_for_classifiers(arguments: argparse.Namespace, budget: Budget | None) -> None:
    """What is said of boxes says nothing of classes.

    Raises:
        InputError: Something for detectors is wanted.
    """
    wanted = {"a budget": budget, "--iou": arguments.iou, "--per-class": arguments.per_class}
    for what, given in wanted.items():
        if given:
            raise InputError(f"{what} with the classifier {arguments.model}", "expected a detector", "leave it out")


def _check(budget: Budget, dataset: Dataset, measured: Measured, expected: Measured) -> None:
    """Holds the model to a budget.

    Raises:
        BudgetError: It loses more.
    """
    from convert.evaluate.measure import compare

    pairs = [(one.score.map50 or 0.0, one.score.map50_95 or 0.0) for one in (expected, measured)]
    agreement = compare(measured, expected).agreement.f1
    row = Accuracy(dataset.name, len(dataset.truths), *pairs[0], *pairs[1], agreement)
    if budget.max_drop is not None:
        require_accuracy(row)
    if budget.min_agreement is not None:
        require_detections(expected.predictions, dataset)
    check_row(row, budget, "python -m convert debug says why")


def _read_data(arguments: argparse.Namespace) -> Dataset:
    """The pictures of ``--data``; those without annotations only beside a reference.

    Raises:
        InputError: They cannot be used, or not without a reference.
    """
    from convert.data import is_plain, open_data, open_plain

    if not is_plain(arguments.data):
        return open_data(arguments.data, arguments.strict)
    if arguments.reference is None:
        raise InputError(
            f"{arguments.data} has no annotations in a known layout",
            "expected COCO, Pascal VOC or YOLO labels, or a network to compare with",
            "give --reference FLOAT, or add annotations",
        )
    return open_plain(arguments.data, arguments.strict)


def _measure(detector: Detector, path: Path, dataset: Dataset, arguments: argparse.Namespace) -> Measured:
    from convert.evaluate.detection import predict
    from convert.evaluate.measure import measure
    from convert.progress import Progress

    predictions = predict(detector, dataset, Progress(path.name))
    return measure(predictions, dataset, detector.labels, arguments.iou or _VOC_IOU)


def _report(arguments: argparse.Namespace, dataset: Dataset, measured: Measured, expected: Measured | None) -> None:
    """Prints the figures, for programs or for people."""
    from convert.evaluate.measure import compare

    comparison = compare(measured, expected) if expected else None
    if arguments.json:
        print(json.dumps(_facts(arguments, dataset, measured, expected, comparison), indent=1))
        return
    rows = [(arguments.model.name, measured)]
    if expected:
        rows.insert(0, (f"reference {arguments.reference.name}", expected))
    if dataset.annotated:
        unlabelled = f"{dataset.unlabelled} without a label file"
        print(f"{len(dataset.truths)} images of {dataset.name} ({unlabelled}), {measured.score.objects} objects")
        print_scores(rows)
    else:
        print(f"{len(dataset.truths)} images of {dataset.name}, without annotations: agreement only")
        print_counts(rows)
    if comparison:
        print_comparison(comparison)
    if arguments.per_class and measured.score.per_class:
        print_classes(measured.score)


def _facts(
    arguments: argparse.Namespace,
    dataset: Dataset,
    measured: Measured,
    expected: Measured | None,
    comparison: Comparison | None,
) -> dict[str, object]:
    facts: dict[str, object] = {
        "model": str(arguments.model),
        "data": dataset.name,
        "images": len(dataset.truths),
        "skipped_images": dataset.skipped,
        "unlabelled_images": dataset.unlabelled,
        "voc_iou": arguments.iou or _VOC_IOU,
        **score_facts(measured),
    }
    if expected and comparison:
        facts |= comparison_facts(comparison)
        facts["reference"] = {"model": str(arguments.reference), **score_facts(expected)}
    return facts


def overlap(text: str) -> float:
    """An argparse type: an overlap above 0, up to 1."""
    value = fraction(text)
    if not value:
        raise argparse.ArgumentTypeError("0 is not an overlap above 0")
    return value
