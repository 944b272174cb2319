"""Milliseconds of a whole frame beside other frameworks, on the same files: each in its own process, in turns.

Usage, from the top of the repository (``docs/speed.md`` says how the environments are made):
python -m tests.oracles.compare_frameworks PICTURE NAME=PYTHON,KIND,MODEL[,WEIGHTS] ... [--rounds N] [--core N]

The first program is what the others are compared with; KIND is one of ``frame_worker.py``'s. The picture is scaled to
768x432. A round is one frame of each program, the order rotating; ratios are taken round by round, so that what
disturbs a whole round disturbs all programs alike.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
from pathlib import Path

import cv2
import numpy as np

from runtime.board import cpu_name
from runtime.rounds import turns

_ROOT = Path(__file__).resolve().parents[2]
_WORKER = Path(__file__).with_name("frame_worker.py")
_SIZE = (768, 432)
# Libraries with thread pools of their own are held to one thread, as the interpreters are.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class Program:
    """A worker that waits for the word to detect once more."""

    def __init__(self, description: str, picture: Path, core: int | None) -> None:
        self.name, _, rest = description.partition("=")
        python, kind, *files = rest.split(",")
        command = [python, str(_WORKER), kind, files[0], str(picture), *files[1:]]
        pinned = ["taskset", "-c", str(core)] if core is not None else []
        environment = {**os.environ, **_ONE_THREAD, "PYTHONPATH": str(_ROOT)}
        self._process = subprocess.Popen(
            [*pinned, *command], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("ready"):
                self.found = int(line.split()[1])
                return
        raise SystemExit(f"{self.name} did not start: {' '.join(command)}")

    def frame(self) -> float:
        """Seconds of one frame."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def close(self) -> None:
        """Ends it."""
        self._process.kill()
        self._process.wait()


def measure(programs: list[Program], rounds: int) -> np.ndarray:
    """Milliseconds ``(rounds, programs)``."""
    ms = np.empty((rounds, len(programs)))
    for run in range(rounds):
        for at in turns(len(programs), run):
            ms[run, at] = 1e3 * programs[at].frame()
    return ms


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("picture", type=Path)
    parser.add_argument("programs", nargs="+")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--core", type=int, help="keep every program on this core")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "frame.npy"
        np.save(picture, cv2.resize(cv2.imread(str(arguments.picture)), _SIZE))
        programs = [Program(text, picture, arguments.core) for text in arguments.programs]
    ms = measure(programs, arguments.rounds)
    print(f"{cpu_name()}, one thread, {arguments.rounds} rounds in turn, {_SIZE[0]}x{_SIZE[1]}")
    print(f"{'':24} found   ms min / median     times the first: min / median")
    for at, program in enumerate(programs):
        ratio = ms[:, at] / ms[:, 0]
        print(
            f"{program.name:24} {program.found:5}  {ms[:, at].min():7.2f} / {np.median(ms[:, at]):7.2f}     "
            f"{ms[:, at].min() / ms[:, 0].min():13.3f} / {np.median(ratio):.3f}"
        )
        program.close()


if __name__ == "__main__":
    main()
