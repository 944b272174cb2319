"""Runs a model on given input tensors and stores what it answered. Runs on the board and here.

Usage: python outputs.py [MODEL INPUTS.npy OUT.npz]...; INPUTS ``(n, 1, h, w, 3)``, OUT ``(n, ...)`` for each output.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from runtime.engine import Engine


def main(model: str, inputs: str, out: str) -> None:
    engine = Engine(Path(model), 1)
    answers: dict[str, list[np.ndarray]] = {f"o{index}": [] for index in range(len(engine.outputs))}
    for picture in np.load(inputs):
        engine.input_view()[:] = picture
        engine.invoke()
        for index, answer in enumerate(answers.values()):
            answer.append(engine.output_view(index).copy())
    np.savez(out, **{name: np.stack(answer) for name, answer in answers.items()})  # type: ignore[arg-type]


if __name__ == "__main__":
    for start in range(1, len(sys.argv), 3):
        main(*sys.argv[start : start + 3])
