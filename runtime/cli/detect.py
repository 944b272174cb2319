"""``python -m runtime detect``: objects in pictures and videos."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.commandline import THREADS_HELP, Notes, add_delegate, count, ended_like_ctrl_c, fraction
from runtime.grammar import INPUTS, OUTPUTS

if TYPE_CHECKING:
    from runtime.detections import Detections
    from runtime.frame import Frame
    from runtime.sinks import Sink
    from runtime.sources import Source


def add_parser(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    """Adds the command."""
    parser = commands.add_parser("detect", help="find objects in images, videos or a camera")
    parser.add_argument("model", type=Path, metavar="MODEL", help="a .tflite detector")
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help=INPUTS)
    parser.add_argument("--score", type=fraction, help="lowest score to report, 0..1 (default: the model's)")
    parser.add_argument("--threads", type=count, help=THREADS_HELP)
    parser.add_argument(
        "--soft-nms", action="store_true", help="lower the scores of overlapped boxes instead of dropping them"
    )
    parser.add_argument("--labels", type=Path, help="class names, one per line, instead of the model's")
    add_delegate(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object per image or frame")
    parser.add_argument("--output", action="append", default=[], metavar="URI", help=f"{OUTPUTS}; may be repeated")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command."""
    from runtime.detector import Detector
    from runtime.sources import frames, open_source

    with ended_like_ctrl_c(), contextlib.ExitStack() as stack:
        detector = stack.enter_context(
            Detector.open(arguments.model, arguments.threads, arguments.score, arguments.labels, arguments.delegate)
        )
        detector.soft_nms = arguments.soft_nms
        sources = [open_source(uri) for uri in arguments.inputs]
        for source in sources:
            stack.callback(source.close)
        outputs = [*(["json://-"] if arguments.json else []), *arguments.output]
        sinks = _open_sinks(outputs, detector.labels, sources) if outputs else []
        for sink in sinks:
            stack.callback(sink.close)
        notes = Notes(detector.card, detector.executor)
        for source in sources:
            for frame in frames(source):
                found = detector.detect(frame)
                notes.tell()
                for sink in sinks:
                    sink.write(frame, found)
                if not arguments.json:
                    _print(frame, found, detector.labels)
    return 0


def _open_sinks(outputs: list[str], labels: tuple[str, ...], sources: list[Source]) -> list[Sink]:
    from runtime.sinks import check_outputs, open_sink

    check_outputs(outputs)
    return [open_sink(uri, labels, *sources) for uri in outputs]


def _print(frame: Frame, found: Detections, labels: tuple[str, ...]) -> None:
    ms = found.ms
    objects = f"{len(found)} object{'' if len(found) == 1 else 's'}"
    print(
        f"{frame.source} frame {frame.index}, {frame.width}x{frame.height}: {objects} "
        f"(preprocess {ms.preprocess:.2f}, inference {ms.inference:.2f}, postprocess {ms.postprocess:.2f} ms)"
    )
    for class_id, score, box in zip(found.class_ids, found.scores, found.boxes, strict=True):
        corners = " ".join(f"{value:7.1f}" for value in box)
        print(f"  {score:.2f}  {corners}  {labels[class_id]}")
