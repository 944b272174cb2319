"""``python -m runtime bench``: milliseconds per frame."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from runtime.commandline import count, counts


def add_parser(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    """Adds the command."""
    parser = commands.add_parser("bench", help="time a model on this machine")
    parser.add_argument("models", type=Path, nargs="+", metavar="MODEL", help="model files; several take turns")
    parser.add_argument("--threads", type=counts, default=[1], metavar="N,N", help="thread counts to try (default: 1)")
    parser.add_argument("--runs", type=count, default=200, help="timed rounds per thread count (default: 200)")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--input", type=Path, metavar="IMAGE", help="detect on this picture instead of noise")
    what.add_argument(
        "--inference-only",
        action="store_true",
        help="time the bare networks, each beside the first; the files need no card, the machine no OpenCV",
    )
    parser.add_argument("--json", action="store_true", help="print a JSON list")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command."""
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
        print("not valid: the board was throttled (heat or a weak power supply)")
    return 0


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
