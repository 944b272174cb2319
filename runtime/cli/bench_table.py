"""What ``bench`` prints for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

THROTTLED = "not valid: the board was throttled (heat or a weak power supply)"

Row = dict[str, Any]


def lines(rows: Sequence[Row], what: str = "") -> Iterator[str]:
    """The lines to print.

    Args:
        rows: As ``bench --json`` prints them.
        what: ``compare``, ``tune`` or nothing.
    """
    first = rows[0]
    rounds = "runs of each thread count" if what == "tune" else "interleaved rounds"
    yield f"{first['provider']} on {first['machine']}, {first['runs']} {rounds}"
    if what == "tune":
        yield from _tuned(rows)
    elif first["end_to_end_ms"] is None:
        yield from _inference(rows)
    else:
        yield from _frames(rows)
        if what != "compare":
            yield from _streams(rows)
    yield from _compared(rows)
    yield from _conditions(rows)


def _inference(rows: Sequence[Row]) -> Iterator[str]:
    yield "threads   invoke ms min/median/p95/p99             slower  RSS MiB  model"
    for row in rows:
        yield (
            f"{row['threads']:7}   {_figures(row['inference_ms'])}  {row['slowdown']:+5.1f}%  {row['peak_rss_mb']:7.1f}"
            f"  {_name(row)}"
        )


def _frames(rows: Sequence[Row]) -> Iterator[str]:
    stages = (
        ("inference_ms", "invoke alone"),
        ("preprocess_ms", "preprocess"),
        ("inference_stage_ms", "inference"),
        ("postprocess_ms", "postprocess"),
        ("end_to_end_ms", "whole frame"),
    )
    for row in rows:
        plural = "s" if row["threads"] > 1 else ""
        yield f"{_name(row)}, {row['threads']} thread{plural}: {row['detections']} found, peak {row['peak_rss_mb']} MiB"
        yield "               ms   min    median       p95       p99"
        for key, name in stages:
            yield f"  {name:12} {_figures(row[key])}"
        yield f"  a frame takes {row['end_to_end_ratio']:.3f} times as long as invoke alone"


def _streams(rows: Sequence[Row]) -> Iterator[str]:
    for row in rows:
        if flow := row["stream"]:
            late = flow["latency_ms"]
            yield (
                f"{_name(row)}, {row['threads']} thread{'s' if row['threads'] > 1 else ''}, streaming: "
                f"{flow['fps']:.1f} frames/s, {flow['invoke_share']:.3f} of invoke alone; from a camera of "
                f"{flow['camera_fps']:g} frames/s capture to result {late['median']:.1f} ms (p95 {late['p95']:.1f}, "
                f"{flow['dropped']} dropped)"
            )


def _compared(rows: Sequence[Row]) -> Iterator[str]:
    for row in rows:
        if "compared" in row:
            other = Path(row["compared"]["with"]).stem
            for key, name in (("end_to_end", "a frame"), ("inference", "invoke alone")):
                if found := row["compared"].get(key):
                    yield (
                        f"{row['threads']} thread(s), {name}: {_name(row)} takes {found['ratio']:.3f} times as long as "
                        f"{other} (95 % interval {found['low']:.3f} to {found['high']:.3f})"
                    )


def _tuned(rows: Sequence[Row]) -> Iterator[str]:
    for row in rows:
        tried = ", ".join(f"{threads}: {ms:.3f}" for threads, ms in row["tuned"]["ms"].items())
        yield f"{_name(row)}: {row['threads']} thread(s) from now on (invoke ms by threads: {tried})"
    yield f"kept in {rows[0]['tuned']['file']}"


def _conditions(rows: Sequence[Row]) -> Iterator[str]:
    before, after = rows[0]["before"], rows[-1]["after"]
    if any(value is not None for value in (*before.values(), *after.values())):
        yield f"before: {_state(before)}; after: {_state(after)}"
    if any(row["throttled"] for row in rows):
        yield THROTTLED


def _state(state: Row) -> str:
    parts = []
    if state["celsius"] is not None:
        parts.append(f"{state['celsius']:.0f} degrees C")
    if state["mhz"] is not None:
        parts.append(f"{state['mhz']:.0f} MHz")
    if state["throttle"] is not None:
        parts.append(", ".join(state["throttle"]["now"]) or "not throttled")
    return ", ".join(parts) or "unknown"


def _figures(ms: dict[str, float]) -> str:
    return " ".join(f"{ms[name]:9.3f}" for name in ("min", "median", "p95", "p99"))


def _name(row: Row) -> str:
    return Path(row["model"]).stem
