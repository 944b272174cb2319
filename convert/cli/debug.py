"""``python -m convert debug``: why a quantised network finds other things than its float network."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from convert.cli.report import teller
from convert.cli.table import print_columns
from runtime.errors import InputError
from runtime.files import make_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from convert.data import Dataset
    from convert.debug.model import Explanation, TensorError
    from convert.debug.run import Debugged

_LOWEST = 8


def add_parser(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    """Adds the command."""
    parser = commands.add_parser("debug", help="explain what quantisation does to a network, tensor by tensor")
    parser.add_argument(
        "model",
        type=Path,
        metavar="MODEL",
        help="a float network (.cfg, .keras, recipe) to quantise and explain; or, with --reference, an int8 .tflite",
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="images, annotated or plain")
    parser.add_argument(
        "--calibration", type=Path, metavar="DIR", help="calibration images (default: the recipe's, else --data)"
    )
    parser.add_argument("--reference", type=Path, metavar="FLOAT", help="the float network an int8 file was made from")
    parser.add_argument("--weights", type=Path, metavar="F", help="weights of the float network (default: beside it)")
    parser.add_argument("--labels", type=Path, metavar="F", help="class names, one per line (default: the model's)")
    parser.add_argument(
        "--plain", action="store_true", help="explain int8 without repair: min-max ranges, weights to the nearest step"
    )
    parser.add_argument("--report", type=Path, metavar="DIR", help="write report.html, .md and .json there")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command."""
    from convert.data import open_pictures
    from convert.quiet import import_keras
    from runtime.schema import encode

    is_file = arguments.model.suffix.lower() == ".tflite"
    if is_file and arguments.reference is None:
        raise InputError(
            f"{arguments.model} without --reference",
            "an int8 file is explained beside the float network it was made from",
            "add --reference FLOAT",
        )
    if is_file and arguments.plain:
        raise InputError(f"--plain with {arguments.model}", "expected a float network to quantise", "leave it out")
    data = open_pictures(arguments.data, strict=False)
    say = (lambda _: None) if arguments.json else teller(arguments.model.stem)
    if arguments.report:
        make_folder(arguments.report)
    import_keras()
    done = _debug_file(arguments, data, say) if is_file else _debug_source(arguments, data, say)
    if arguments.report:
        from convert.report.conversion import report_explanation

        written = report_explanation(arguments.report, done, arguments.model if is_file else None)
        say(f"report in {written}")
    if arguments.json:
        print(json.dumps(encode(done.explanation), indent=1))
    else:
        print_explanation(done.explanation)
    return 0


def _debug_file(arguments: argparse.Namespace, data: Dataset, say: Callable[[str], None]) -> Debugged:
    from convert.debug.run import debug_file
    from runtime.files import check_file

    check_file(arguments.model, "a .tflite model")
    files = arguments.labels, arguments.weights, arguments.calibration
    return debug_file(arguments.model, arguments.reference, data, say, *files)


def _debug_source(arguments: argparse.Namespace, data: Dataset, say: Callable[[str], None]) -> Debugged:
    from convert.evaluate.models import open_float
    from runtime.sources.images import list_images

    if arguments.reference:
        raise InputError(
            f"--reference with {arguments.model}",
            "a float network is its own reference",
            "leave it out, or give a .tflite",
        )
    folder = arguments.calibration or _calibration(arguments, say)
    list_images(folder)
    source = open_float(arguments.model, arguments.labels, arguments.weights)

    from convert.debug.run import debug_source
    from convert.quantize.ptq import DEFAULT, PLAIN

    return debug_source(source, folder, arguments.data, data, say, PLAIN if arguments.plain else DEFAULT)


def _calibration(arguments: argparse.Namespace, say: Callable[[str], None]) -> Path:
    """The recipe's calibration images; without a recipe those of ``--data``, which is said."""
    from convert.evaluate.models import is_recipe

    if is_recipe(arguments.model):
        from convert.build import calibration_folder
        from convert.recipe import load_recipe

        recipe = load_recipe(str(arguments.model))
        return calibration_folder(recipe, Path("build/sources") / recipe.name, None, say)
    say("calibrating on the images of --data; give --calibration DIR to explain another set")
    folder: Path = arguments.data
    return folder


def print_explanation(found: Explanation) -> None:
    """For people: what is wrong with the model, then the tensors."""
    print(f"{found.pictures} images of {found.data}: int8 agrees with float to {found.agreement_f1:.1f} %, ", end="")
    print(f"signal to noise of the raw outputs {found.head_sqnr:.1f} dB")
    if not found.findings:
        print("nothing is wrong with the model as a whole")
    for finding in found.findings:
        print(f"{finding.kind}: {finding.seen}")
        print(f"  {finding.expected}")
        print(f"  what to do: {finding.fix}")
    tried = [one for one in found.tensors if one.restored]
    if tried:
        print(
            f"{len(tried)} tensors put back to float one at a time (agreement then, points more, noise left in outputs)"
        )
        print_columns(
            ("agreement", "points", "noise left", "dB", "alone"), [(_name(one), _restored(one)) for one in tried]
        )
        _print_causes(tried)
    lowest = sorted(found.tensors, key=lambda one: one.sqnr)[:_LOWEST]
    print(f"lowest signal to noise (with all before it rounded, and alone), {_LOWEST} of {len(found.tensors)} tensors")
    print_columns(("dB", "alone"), [(_name(one), [f"{one.sqnr:.1f}", f"{one.own_sqnr:.1f}"]) for one in lowest])


def _print_causes(tensors: Sequence[TensorError]) -> None:
    """Each cause once, with the tensors that have it and the numbers of the first."""
    causes: dict[str, list[TensorError]] = {}
    for one in tensors:
        causes.setdefault(one.cause, []).append(one)
    for cause, those in causes.items():
        detail = f": {those[0].detail}" if those[0].detail else ""
        print(f"  {cause} ({', '.join(one.name for one in those)}){detail}")


def _name(one: TensorError) -> str:
    together = one.restored.with_tensors if one.restored else ()
    return " + ".join([one.name, *together])


def _restored(one: TensorError) -> list[str]:
    back = one.restored
    assert back is not None
    decibels = [f"{one.sqnr:.1f}", f"{one.own_sqnr:.1f}"]
    return [f"{back.agreement_f1:.1f}", f"{back.gives_back:+.1f}", f"{back.head_noise:.0%}", *decibels]
