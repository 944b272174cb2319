"""Calibration pictures: which ones, and as the numbers the network gets."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from convert.data import Dataset
from convert.progress import Progress
from convert.quantize.calibration_check import CalibrationReport, Picture, check_leakage, check_pictures, look
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
        pictures: What is kept of each picture behind ``samples``, to compare it with others.
        report: What is wrong with the pictures.
    """

    samples: npt.NDArray[np.float32]
    folder: str
    sha256: str
    pictures: tuple[Picture, ...]
    report: CalibrationReport

    @property
    def count(self) -> str:
        """How many there are, in words: ``1 calibration image``."""
        return f"{len(self.samples)} calibration image{'s' if len(self.samples) > 1 else ''}"


def load_calibration(folder: Path, spec: InputSpec) -> Calibration:
    """Reads the pictures below a folder through the device's own preprocessing.

    With more than ``MAX_IMAGES`` pictures, evenly spaced ones in name order are taken. Exact copies are left out; near
    copies and other faults are only reported.

    Raises:
        InputError: No such folder, no images in it, or one that cannot be read.
    """
    found = list_images(folder)
    paths = found
    if len(found) > MAX_IMAGES:
        paths = [found[i * len(found) // MAX_IMAGES] for i in range(MAX_IMAGES)]
    shape = (1, spec.height, spec.width, 3)
    preprocessor = Preprocessor(spec, TensorSpec(spec.name, shape, np.dtype(np.float32)))
    samples = np.empty((len(paths), *shape[1:]), np.float32)
    digest = hashlib.sha256()
    pictures: list[Picture] = []
    used: dict[str, Picture] = {}
    for path in paths:
        frame = read_image(path)
        picture = look(path.relative_to(folder).as_posix(), frame, spec)
        pictures.append(picture)
        if picture.print.sha256 not in used:
            digest.update(path.read_bytes())
            preprocessor.write(frame, samples[len(used) : len(used) + 1])
            used[picture.print.sha256] = picture
    samples = samples[: len(used)]
    _show_whole_range(samples[0], preprocessor)
    resolved = folder.resolve()
    report = check_pictures(pictures, len(found) - len(paths))
    place = f"{resolved.parent.name}/{resolved.name}"
    return Calibration(samples, place, digest.hexdigest(), tuple(used.values()), report)


def check_calibration(
    calibration: Calibration, data: Dataset | None, strict: bool, say: Callable[[str], None]
) -> CalibrationReport:
    """Compares the pictures with those of an evaluation, and tells everything that is wrong with them.

    Args:
        calibration: The pictures.
        data: Those of the evaluation, if there is one.
        strict: Refuse a picture that is in both.
        say: Takes one line per finding.

    Raises:
        InputError: Strict, and there is such a picture.
    """
    report = calibration.report
    if data is not None:
        report = check_leakage(report, calibration.pictures, data, strict, Progress(f"comparing with {data.name}"))
    for finding in report.warnings:
        say(str(finding))
    return report


def _show_whole_range(sample: npt.NDArray[np.float32], preprocessor: Preprocessor) -> None:
    """Blackens one pixel and whitens another.

    The input's range is known, 0..255, but a quantiser believes what it sees: without a pure white pixel anywhere the
    input would get an odd scale, saturate, and cost the device a table look-up instead of a flipped bit.
    """
    table = preprocessor.table[0]
    sample[0, 0], sample[-1, -1] = table[0], table[255]
