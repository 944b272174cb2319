"""Pictures as a model's input tensors, resized by the OpenCV of the machine it runs on: the board's, or this one's.

Usage: python tensors.py MODEL FRAMES.npy OUT.npy; FRAMES ``(n, h, w, 3)`` BGR, OUT ``(n, 1, h, w, 3)``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from runtime.engine import Engine
from runtime.frame import Frame
from runtime.modelfile import require_card
from runtime.preprocess import Preprocessor


def main(model: str, frames: str, out: str) -> None:
    engine = Engine(Path(model), 1)
    write = Preprocessor(require_card(Path(model)).input, engine.inputs[0]).write
    pictures = np.load(frames)
    tensors = np.empty((len(pictures), *engine.inputs[0].shape), engine.inputs[0].dtype)
    for picture, tensor in zip(pictures, tensors, strict=True):
        write(Frame(picture), tensor)
    np.save(out, tensors)


if __name__ == "__main__":
    main(*sys.argv[1:])
