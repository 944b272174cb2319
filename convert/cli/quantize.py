"""``python -m convert quantize``: one's own network to a model file."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from convert.cli.report import print_summary, teller
from convert.recipe import Budget
from runtime.commandline import percent, size
from runtime.errors import InputError
from runtime.files import check_file, check_writable, make_folder

PRECISIONS = ("int8", "int16", "float16", "dynamic", "float32")
RANGES = ("mse", "min-max", "percentile", "entropy")


def add_parser(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    """Adds the command."""
    parser = commands.add_parser("quantize", help="quantise a network to an int8 model file")
    parser.add_argument("source", type=Path, metavar="SOURCE", help="a Darknet .cfg, or a .keras that prune wrote")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT.tflite")
    parser.add_argument("--calibration", type=Path, required=True, metavar="DIR", help="images like those it will see")
    parser.add_argument("--weights", type=Path, metavar="F", help="default: the .weights file beside the .cfg")
    parser.add_argument("--labels", type=Path, metavar="F", help="default: the .names file beside the .cfg")
    parser.add_argument("--input-size", type=size, metavar="N|WxH", help="pixels of the input (default: the .cfg's)")
    parser.add_argument(
        "--resize", choices=("stretch", "letterbox"), help="how images are fitted (default: as the .cfg says)"
    )
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="images: annotated for accuracy, plain for agreement with float alone"
    )
    parser.add_argument(
        "--max-drop", type=percent, metavar="POINTS", help="with --data: most AP50 that int8 may lose; status 3 beyond"
    )
    parser.add_argument(
        "--min-agreement",
        type=percent,
        metavar="PERCENT",
        help="with --data: least agreement F1 with float",
    )
    parser.add_argument(
        "--max-slowdown",
        type=percent,
        metavar="PERCENT",
        help="with a budget: where int8 misses it, keep tensors in float as long as inference gets no slower than this",
    )
    parser.add_argument("--precision", choices=PRECISIONS, default="int8", help="what numbers become (default: int8)")
    parser.add_argument("--ranges", choices=RANGES, default="mse", help="how int8 ranges are chosen (default: mse)")
    parser.add_argument(
        "--plain", action="store_true", help="int8 without repair: min-max ranges, weights to the nearest step"
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="refuse --data when anything is wrong with it, or when it shares images with --calibration",
    )
    parser.add_argument("--report", type=Path, metavar="DIR", help="write report.html, .md and .json there")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command."""
    from convert.budget import require_objects
    from convert.data import open_pictures
    from convert.importers import load_source
    from runtime.sources.images import list_images

    if arguments.output.suffix != ".tflite":
        raise InputError(f"{arguments.output} does not end in .tflite", "expected -o OUT.tflite")
    budget = _budget(arguments)
    # Everything that can be wrong is found before the long work starts.
    check_file(arguments.source, "a network (.cfg or .keras)")
    check_writable(arguments.output)
    if arguments.report:
        make_folder(arguments.report)
    list_images(arguments.calibration)
    data = open_pictures(arguments.data, arguments.strict) if arguments.data else None
    if budget and budget.max_drop is not None and data:
        require_objects(data)
    source = load_source(arguments.source, arguments.weights, arguments.labels, arguments.input_size)
    if arguments.resize:
        source = dataclasses.replace(source, input=dataclasses.replace(source.input, resize=arguments.resize))

    from convert.conversion import convert
    from convert.quantize.ptq import PLAIN, Options

    done = convert(
        *(source, arguments.calibration, arguments.output, data, teller(source.name)),
        budget=budget,
        strict=arguments.strict,
        options=PLAIN if arguments.plain else Options(ranges=arguments.ranges),
        precision=arguments.precision,
        report=arguments.report,
    )
    print(f"{source.name}: wrote {done.path}")
    print_summary(done.card, done.bytes)
    return 0


def _budget(arguments: argparse.Namespace) -> Budget | None:
    budget = Budget(arguments.max_drop, arguments.min_agreement, arguments.max_slowdown)
    if budget == Budget():
        return None
    if budget.max_drop is None and budget.min_agreement is None:
        raise InputError(
            "--max-slowdown without a budget", "expected what it is spent for", "add --max-drop or --min-agreement"
        )
    if budget.max_slowdown is not None and (arguments.precision != "int8" or arguments.plain):
        raise InputError(
            f"--max-slowdown with {'--plain' if arguments.plain else '--precision ' + arguments.precision}",
            "expected the default int8, which can be repaired",
            "leave one of them out",
        )
    if not arguments.data:
        flag = "--max-drop" if budget.max_drop is not None else "--min-agreement"
        raise InputError(f"{flag} without --data", "a budget is measured on images", "add --data DIR")
    return budget
