"""``python -m runtime bench``: milliseconds per frame."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from runtime.commandline import count, counts
from runtime.errors import InputError

_RUNS, _OPS_RUNS = 200, 50
_THROTTLED = "not valid: the board was throttled (heat or a weak power supply)"


def add_parser(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    """Adds the command."""
    parser = commands.add_parser("bench", help="time a model on this machine")
    parser.add_argument("models", type=Path, nargs="+", metavar="MODEL", help="model files; several take turns")
    parser.add_argument("--threads", type=counts, default=[1], metavar="N,N", help="thread counts to try (default: 1)")
    parser.add_argument("--runs", type=count, help="timed rounds per thread count (default: 200; with --ops 50)")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--input", type=Path, metavar="IMAGE", help="detect on this picture instead of noise")
    what.add_argument(
        "--inference-only",
        action="store_true",
        help="time the bare networks, each beside the first; the files need no card, the machine no OpenCV",
    )
    what.add_argument("--ops", action="store_true", help="say where the time goes, op by op; the files need no card")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="with --ops: draw the roofline into FILE.png")
    parser.add_argument("--json", action="store_true", help="print a JSON list")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command."""
    if arguments.plot and not arguments.ops:
        raise InputError("--plot without --ops", "expected both", "add --ops")
    if arguments.ops:
        return _run_ops(arguments)
    arguments.runs = arguments.runs or _RUNS
    rows = _measure(arguments)
    if arguments.json:
        print(json.dumps(rows, indent=1))
        return 0
    print(f"{rows[0]['provider']} on {rows[0]['machine']}, {arguments.runs} interleaved rounds")
    if arguments.inference_only:
        _print_inference(rows)
    else:
        _print_frames(rows)
    if any(row["throttled"] for row in rows):
        print(_THROTTLED)
    return 0


def _run_ops(arguments: argparse.Namespace) -> int:
    from runtime.profile import profile
    from runtime.profile.plain import to_dict
    from runtime.profile.table import lines

    if arguments.plot:
        _check_plot(arguments)
    profiles = [
        profile(model, threads, arguments.runs or _OPS_RUNS)
        for threads in arguments.threads
        for model in arguments.models
    ]
    if arguments.json:
        print(json.dumps([to_dict(found) for found in profiles], indent=1))
    else:
        print("\n\n".join("\n".join(lines(found)) for found in profiles))
        if any(found.throttled for found in profiles):
            print(_THROTTLED)
    if arguments.plot:
        from runtime.profile.plot import save

        save(profiles[0], arguments.plot)
    return 0


def _check_plot(arguments: argparse.Namespace) -> None:
    from runtime.files import check_writable
    from runtime.profile.plot import check_plot

    if len(arguments.models) * len(arguments.threads) > 1:
        raise InputError("--plot with several models or thread counts", "expected one of each", "run it for each")
    check_writable(check_plot(arguments.plot))


def _measure(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    if arguments.inference_only:
        from runtime.rounds import time_inference

        return time_inference(arguments.models, arguments.threads, arguments.runs)
    from runtime.bench import bench
    from runtime.sources.images import read_image

    frame = read_image(arguments.input) if arguments.input else None
    return bench(arguments.models, arguments.threads, arguments.runs, frame)


def _print_inference(rows: list[dict[str, Any]]) -> None:
    print("threads   invoke ms min/median/p95       slower  RSS MiB  model")
    for row in rows:
        print(
            f"{row['threads']:7}   {_figures(row['inference_ms'])}  {row['slowdown']:+5.1f}%  {row['peak_rss_mb']:7.1f}"
            f"  {Path(row['model']).stem}"
        )


def _print_frames(rows: list[dict[str, Any]]) -> None:
    print("threads   invoke ms min/median/p95     whole frame ms min/median/p95   ratio   pre    post   RSS MiB  model")
    for row in rows:
        invoke, whole = _figures(row["inference_ms"]), _figures(row["end_to_end_ms"])
        print(
            f"{row['threads']:7}   {invoke}   {whole}     {row['end_to_end_ratio']:5.3f}  "
            f"{row['preprocess_ms']['median']:5.2f}  {row['postprocess_ms']['median']:5.2f}  {row['peak_rss_mb']:7.1f}"
            f"  {Path(row['model']).stem}"
        )
    _compare(rows)


def _figures(ms: dict[str, float]) -> str:
    return " / ".join(f"{ms[name]:7.2f}" for name in ("min", "median", "p95"))


def _compare(rows: list[dict[str, Any]]) -> None:
    """How much longer a frame takes than with the first model, by minimum and by median."""
    for row in rows:
        first = next(other for other in rows if other["threads"] == row["threads"])
        if row is not first:
            minimum, median = (row["end_to_end_ms"][key] / first["end_to_end_ms"][key] for key in ("min", "median"))
            print(
                f"{row['threads']} thread(s): {Path(row['model']).stem} takes {median:.2f} times as long per frame as "
                f"{Path(first['model']).stem} (median; minimum {minimum:.2f})"
            )
