"""Seconds of deployments to a board in a container: ``python -m tests.deploy.time_releases MODEL``, as root.

From nothing (the wheels are on this machine already), another model, and the way back; the seconds without service as
the board tells them. Nothing of it says anything about a Raspberry Pi.
"""

from __future__ import annotations

import argparse
import re
import statistics
import time
from pathlib import Path
from subprocess import CompletedProcess

from runtime.board import cpu_name
from tests.deploy.boards import LightBoard, why_not
from tests.deploy.conftest import Bench, workbench

_GAP = re.compile(r"([0-9.]+) s without service")


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    if reason := why_not():
        parser.error(reason)
    wholes: dict[str, list[float]] = {}
    gaps: dict[str, list[float]] = {}
    with workbench(given.model) as bench:
        # It has the wheels brought here.
        _well(bench.install(bench.board(fresh=True)))
        for _ in range(given.runs):
            board = bench.board(fresh=True)
            for name in ("from nothing", "another model", "rollback"):
                begin = time.monotonic()
                said = _well(_order(bench, board, name))
                wholes.setdefault(name, []).append(time.monotonic() - begin)
                gaps.setdefault(name, []).extend(map(float, _GAP.findall(said)))
    print(f"{given.model.stem}, {cpu_name()}, {given.runs} runs; seconds, least and middle")
    for name, seconds in wholes.items():
        gap = f", without service {_both(gaps[name])}" if gaps[name] else ""
        print(f"{name}: {_both(seconds)}{gap}")


def _order(bench: Bench, board: LightBoard, name: str) -> CompletedProcess[str]:
    if name == "rollback":
        return bench.run("rollback", board.address, "--ssh-config", board.config)
    return bench.install(board, int(name == "another model"))


def _well(done: CompletedProcess[str]) -> str:
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return done.stdout


def _both(seconds: list[float]) -> str:
    return f"{min(seconds):.1f} and {statistics.median(seconds):.1f}"


if __name__ == "__main__":
    main()
