"""``python -m runtime classify``: what pictures and videos show."""

from __future__ import annotations

import argparse
import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.commandline import THREADS_HELP, Notes, add_delegate, count
from runtime.frame import Frame
from runtime.grammar import INPUTS

if TYPE_CHECKING:
    # Brings OpenCV, and all commands are imported together: those that need none must work where there is none.
    from runtime.classifier import Classification


def add_parser(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    """Adds the command."""
    parser = commands.add_parser("classify", help="say what images, videos or a camera show")
    parser.add_argument("model", type=Path, metavar="MODEL", help="a .tflite classifier")
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help=INPUTS)
    parser.add_argument("--top", type=count, default=5, metavar="K", help="how many classes to report (default: 5)")
    parser.add_argument("--threads", type=count, help=THREADS_HELP)
    parser.add_argument("--labels", type=Path, metavar="F", help="class names, one per line, instead of the model's")
    add_delegate(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object per image or frame")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command."""
    from runtime.classifier import Classifier
    from runtime.sources import frames, open_source

    with contextlib.ExitStack() as stack:
        classifier = stack.enter_context(
            Classifier.open(arguments.model, arguments.threads, arguments.top, arguments.labels, arguments.delegate)
        )
        sources = [open_source(uri) for uri in arguments.inputs]
        for source in sources:
            stack.callback(source.close)
        notes = Notes(classifier.card, classifier.executor)
        for source in sources:
            for frame in frames(source):
                best = classifier.classify(frame)
                notes.tell()
                if arguments.json:
                    print(json.dumps(best.to_dict(frame, classifier.labels), ensure_ascii=False), flush=True)
                else:
                    _print(frame, best, classifier.labels)
    return 0


def _print(frame: Frame, best: Classification, labels: tuple[str, ...]) -> None:
    ms = best.ms
    print(
        f"{frame.source} frame {frame.index}, {frame.width}x{frame.height} "
        f"(preprocess {ms.preprocess:.2f}, inference {ms.inference:.2f}, postprocess {ms.postprocess:.2f} ms)"
    )
    for class_id, score in zip(best.class_ids, best.scores, strict=True):
        print(f"  {score:.2f}  {labels[class_id]}")
