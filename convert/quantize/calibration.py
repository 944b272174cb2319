"""Calibration pictures: which ones, and as the numbers the network gets."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from runtime.card import InputSpec
from runtime.engine import TensorSpec
from runtime.preprocess import Preprocessor
from runtime.sources.images import list_images, read_image

# Ranges settle well before this; more would only cost time.
MAX_IMAGES = 256


@dataclass(frozen=True)
class Calibration:
    """Calibration inputs and where they came from.

    Attributes:
        samples: ``(n, height, width, 3)`` float32, normalised as the card says.
        folder: The folder's name, with its parent's.
        sha256: Hash over the files' bytes in the order of ``samples``.
    """

    samples: npt.NDArray[np.float32]
    folder: str
    sha256: str


def load_calibration(folder: Path, spec: InputSpec) -> Calibration:
    """Reads the pictures below a folder through the device's own preprocessing.

    With more than ``MAX_IMAGES`` pictures, evenly spaced ones in name order are taken.

    Raises:
        InputError: No such folder, no images in it, or one that cannot be read.
    """
    paths = list_images(folder)
    if len(paths) > MAX_IMAGES:
        paths = [paths[i * len(paths) // MAX_IMAGES] for i in range(MAX_IMAGES)]
    shape = (1, spec.height, spec.width, 3)
    preprocessor = Preprocessor(spec, TensorSpec(spec.name, shape, np.dtype(np.float32)))
    samples = np.empty((len(paths), *shape[1:]), np.float32)
    digest = hashlib.sha256()
    for index, path in enumerate(paths):
        digest.update(path.read_bytes())
        preprocessor.write(read_image(path), samples[index : index + 1])
    _show_whole_range(samples[0], preprocessor)
    resolved = folder.resolve()
    return Calibration(samples, f"{resolved.parent.name}/{resolved.name}", digest.hexdigest())


def _show_whole_range(sample: npt.NDArray[np.float32], preprocessor: Preprocessor) -> None:
    """Blackens one pixel and whitens another.

    The input's range is known, 0..255, but a quantiser believes what it sees: without a pure white pixel anywhere the
    input would get an odd scale, saturate, and cost the device a table look-up instead of a flipped bit.
    """
    table = preprocessor.table[0]
    sample[0, 0], sample[-1, -1] = table[0], table[255]
