"""From the start of a process to its end with the first objects found, and its peak memory (docs/speed.md).

python -m tests.time_start MODEL PICTURE [--runs 15]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from runtime.board import cpu_name

ROOT = Path(__file__).resolve().parents[1]

# What one writes who needs no more than this once: pictures stretched, a uint8 or int8 input, no boxes made of outputs.
_BY_HAND = """
import sys
import cv2
from ai_edge_litert.interpreter import Interpreter
network = Interpreter(sys.argv[1])
network.allocate_tensors()
taken = network.get_input_details()[0]
height, width = taken["shape"][1:3]
picture = cv2.cvtColor(cv2.resize(cv2.imread(sys.argv[2]), (int(width), int(height))), cv2.COLOR_BGR2RGB)
network.set_tensor(taken["index"], picture[None].astype(taken["dtype"]))
network.invoke()
for given in network.get_output_details():
    network.get_tensor(given["index"])
"""


def commands(model: str, picture: str) -> dict[str, list[str]]:
    """What is timed, by name."""
    python = sys.executable
    return {
        "import runtime": [python, "-c", "import runtime"],
        "runtime detect": [python, "-m", "runtime", "detect", model, picture, "--json"],
        "a script by hand": [python, "-c", _BY_HAND, model, picture],
    }


def timed(command: list[str]) -> tuple[float, float]:
    """Seconds and peak memory in MB of one process.

    Linux counts this process's own memory before the other begins, so that this one must stay small.

    Raises:
        subprocess.CalledProcessError: It failed.
    """
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return seconds, used.ru_maxrss / 1024


def main() -> None:
    """Times them in turn and prints a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--runs", type=int, default=15)
    given = parser.parse_args()
    wanted = commands(str(given.model.absolute()), str(given.picture.absolute()))
    rounds = [[timed(command) for command in wanted.values()] for _ in range(given.runs)]
    print(f"{cpu_name()}, {given.runs} runs in turn")
    for name, runs in zip(wanted, zip(*rounds, strict=True), strict=True):
        seconds, peaks = zip(*runs, strict=True)
        print(f"{name:18} {min(seconds):.3f} / {median(seconds):.3f} s, at most {max(peaks):.0f} MB")


if __name__ == "__main__":
    main()
