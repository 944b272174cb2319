"""``python -m runtime bench``: milliseconds per frame."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from runtime.commandline import add_delegate, count, counts, delegate_note
from runtime.errors import InputError

_RUNS, _OPS_RUNS = 200, 50


def add_parser(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    """Adds the command."""
    parser = commands.add_parser("bench", help="time a model on this machine")
    parser.add_argument("models", type=Path, nargs="+", metavar="MODEL", help="model files; several take turns")
    parser.add_argument("--threads", type=counts, metavar="N,N", help="thread counts to try (default: 1)")
    parser.add_argument("--runs", type=count, help="timed rounds per thread count (default: 200; with --ops 50)")
    parser.add_argument("--input", type=Path, metavar="IMAGE", help="detect on this picture instead of noise")
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--compare",
        action="store_true",
        help="only how much longer each model takes than the first, with a 95 %% interval",
    )
    what.add_argument(
        "--inference-only",
        action="store_true",
        help="time the bare networks, each beside the first; the files need no card, the machine no OpenCV",
    )
    what.add_argument("--ops", action="store_true", help="say where the time goes, op by op; the files need no card")
    what.add_argument(
        "--tune",
        action="store_true",
        help="find the number of threads each model is fastest with on this board, for all programs to use",
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="with --ops: draw the roofline into FILE.png")
    add_delegate(parser)
    parser.add_argument("--json", action="store_true", help="print a JSON list")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command."""
    _check(arguments)
    if arguments.ops:
        return _run_ops(arguments)
    rows = _measure(arguments)
    if arguments.json:
        print(json.dumps(rows, indent=1))
    else:
        from runtime.cli.bench_table import lines

        print("\n".join(lines(rows, "tune" if arguments.tune else "compare" if arguments.compare else "")))
    for note in dict.fromkeys(delegate_note(row["delegate"]) for row in rows if "delegate" in row):
        if note:
            print(note, file=sys.stderr)
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """Refuses flags that have nothing to do with each other."""
    if arguments.plot and not arguments.ops:
        raise InputError("--plot without --ops", "expected both", "add --ops")
    if arguments.compare and len(arguments.models) < 2:
        raise InputError("--compare with one model", "expected at least two", "name the other one too")
    for flag in ("inference_only", "ops", "tune"):
        if arguments.input and getattr(arguments, flag):
            name = f"--{flag.replace('_', '-')}"
            raise InputError(f"--input with {name}", "expected one of them", f"leave --input out: {name} needs none")
    if arguments.ops and arguments.delegate is not None:
        raise InputError("--ops with --delegate", "expected one of them", "only XNNPACK's ops can be timed one by one")


def _run_ops(arguments: argparse.Namespace) -> int:
    from runtime.cli.bench_table import THROTTLED
    from runtime.profile import profile
    from runtime.profile.plain import to_dict
    from runtime.profile.table import lines

    threads = arguments.threads or [1]
    if arguments.plot:
        _check_plot(arguments.plot, len(arguments.models) * len(threads))
    profiles = [profile(model, number, arguments.runs or _OPS_RUNS) for number in threads for model in arguments.models]
    if arguments.json:
        print(json.dumps([to_dict(found) for found in profiles], indent=1))
    else:
        print("\n\n".join("\n".join(lines(found)) for found in profiles))
        if any(found.throttled for found in profiles):
            print(THROTTLED)
    if arguments.plot:
        from runtime.profile.plot import save

        save(profiles[0], arguments.plot)
    return 0


def _check_plot(path: Path, profiles: int) -> None:
    from runtime.files import check_writable
    from runtime.profile.plot import check_plot

    if profiles > 1:
        raise InputError("--plot with several models or thread counts", "expected one of each", "run it for each")
    check_writable(check_plot(path))


def _measure(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    threads, runs = arguments.threads or [1], arguments.runs or _RUNS
    if arguments.tune:
        from runtime.tune import tune

        return [tune(model, arguments.threads, runs, arguments.delegate) for model in arguments.models]
    if not arguments.inference_only:
        from runtime.bench import bench
        from runtime.sources.images import read_image

        frame = read_image(arguments.input) if arguments.input else None
        streaming = not arguments.compare
        try:
            return bench(arguments.models, threads, runs, frame, streaming=streaming, delegate=arguments.delegate)
        except InputError as error:
            if frame:
                raise
            unusable = error
    from runtime.rounds import time_inference

    rows = time_inference(arguments.models, threads, runs, arguments.delegate)
    if not arguments.inference_only:
        print(f"note: {unusable.seen}; what is timed is invoke alone", file=sys.stderr)
    return rows
