"""What is wrong with a set of calibration pictures.

A calibration set decides every scale of the int8 file, and nothing downstream notices a bad one. What is found here is
told and kept, not repaired: only exact copies are left out, because they add nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from convert.data import Dataset
from convert.data.duplicates import NEAR, Fingerprint, Pair, between, differences, fingerprint, within
from convert.quantize.coverage import TensorCoverage
from runtime.card import InputSpec
from runtime.errors import InputError
from runtime.frame import Frame
from runtime.preprocess import place
from runtime.sources.images import read_image

# Kinds of findings, as they are stored and counted.
EXACT = "exact duplicates"
NEARLY = "near duplicates"
LEAKED = "leaked"
ONE = "one picture"
CONSTANT = "constant"
ALIKE = "all alike"
SMALL = "small"
GREY = "grey"
RANGES = "ranges"

_MAX_UPSCALE = 4.0
# In steps of 255, on a small version of the picture: sensor noise and JPEG stay below.
_CONSTANT_CONTRAST, _GREY_COLOUR = 8, 6
_LOOK = (64, 64)
# Ranges are told of when more than this share of tensors has not settled; see coverage.py for what is usual.
_UNSETTLED = 0.1
# From here on a set without outliers passes coverage.OUTSIDE.
_ENOUGH = 64
_NAMED = 3


@dataclass(frozen=True)
class Finding:
    """Something wrong with the calibration pictures.

    Attributes:
        kind: One of the few words at the top of this module.
        seen: What was seen, on one line.
        fix: What to do about it.
    """

    kind: str
    seen: str
    fix: str

    def __str__(self) -> str:
        return f"warning: {self.seen}; {self.fix}"


@dataclass(frozen=True)
class CalibrationReport:
    """What is known about a set of calibration pictures.

    Attributes:
        images: Pictures used.
        exact_duplicates: Copies that were left out (``second``), with the picture that is used instead (``first``).
        near_duplicates: Pictures that are nearly the same; both are used.
        leaked: Calibration pictures (``first``) that are also, or nearly, evaluation pictures (``second``).
        unused: Pictures left out because the folder holds more than are needed.
        warnings: What should be put right.
    """

    images: int
    exact_duplicates: tuple[Pair, ...] = ()
    near_duplicates: tuple[Pair, ...] = ()
    leaked: tuple[Pair, ...] = ()
    unused: int = 0
    warnings: tuple[Finding, ...] = ()


@dataclass(frozen=True, eq=False)
class Picture:
    """What is kept of one calibration picture.

    Attributes:
        name: Its path below the calibration folder.
        print: To find it again.
        upscale: How many times larger it becomes in the input, on the axis where it grows most.
        contrast: Brightest minus darkest of a small grey version, 0..255.
        colour: Greatest difference between channels in a small version, 0..255.
    """

    name: str
    print: Fingerprint
    upscale: float
    contrast: int
    colour: int


def look(name: str, frame: Frame, spec: InputSpec) -> Picture:
    """Takes down what the checks need, so that the picture itself can go."""
    small = cv2.resize(frame.pixels, _LOOK, interpolation=cv2.INTER_AREA).astype(np.int16)
    scale = place(spec, frame.width, frame.height).scale
    contrast, colour = int(np.ptp(small.mean(2))), int(np.ptp(small, axis=2).max())
    return Picture(name, fingerprint(frame), max(scale), contrast, colour)


def check_pictures(pictures: Sequence[Picture], unused: int = 0) -> CalibrationReport:
    """Checks a set against itself.

    Args:
        pictures: All that were read, exact copies among them.
        unused: Pictures of the folder that were not read.
    """
    exact, near = within([picture.name for picture in pictures], [picture.print for picture in pictures])
    copies = {pair.second for pair in exact}
    used = [picture for picture in pictures if picture.name not in copies]
    findings = [*_duplicates(exact, near), *_bad_set(used)]
    return CalibrationReport(len(used), exact, near, (), unused, tuple(findings))


def check_leakage(
    report: CalibrationReport,
    pictures: Sequence[Picture],
    data: Dataset,
    strict: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> CalibrationReport:
    """Adds the calibration pictures that are also, or nearly, among the evaluation pictures.

    Args:
        report: What is known already.
        pictures: The calibration pictures.
        data: The evaluation pictures; all are read again.
        strict: Refuse the pictures when one is in both sets.
        progress: Called with (done, total) as evaluation pictures are read.

    Raises:
        InputError: Strict, and there is one.
    """
    paths = [truth.path for truth in data.truths]
    names = [f"{path.parent.name}/{path.name}" for path in paths]
    prints = _fingerprints(paths, progress)
    leaked = between([p.name for p in pictures], [p.print for p in pictures], names, prints)
    if not leaked:
        return report
    exact = sum(pair.exact for pair in leaked)
    seen = (
        f"{len(leaked)} calibration images are also in {data.name} ({exact} exactly, {len(leaked) - exact} nearly), "
        f"so accuracy looks better than it is: {_some([f'{pair.first} = {pair.second}' for pair in leaked])}"
    )
    fix = "take them out of one of the two folders"
    if strict:
        raise InputError(seen, "expected no image in both", f"{fix}, or leave out --strict")
    return dataclasses.replace(report, leaked=leaked, warnings=(*report.warnings, Finding(LEAKED, seen, fix)))


def check_ranges(report: CalibrationReport, tensors: Sequence[TensorCoverage]) -> CalibrationReport:
    """Adds a warning when the ranges of many tensors had not settled."""
    unsettled = [tensor for tensor in tensors if not tensor.converged]
    if len(unsettled) <= _UNSETTLED * len(tensors):
        return report
    worst = sorted(unsettled, key=lambda tensor: (-max(tensor.widened, tensor.growing), -tensor.outside))
    many = f"with {report.images} image{'s' if report.images > 1 else ''}"
    seen = f"the ranges of {len(unsettled)} of {len(tensors)} tensors had not settled {many}"
    wanted = f"{_ENOUGH} or more" if report.images < _ENOUGH else f"more than {report.images}"
    finding = Finding(
        RANGES,
        f"{seen}, worst {_some([tensor.tensor for tensor in worst])}",
        f"calibrate on {wanted} images like those the device will see",
    )
    return dataclasses.replace(report, warnings=(*report.warnings, finding))


def _fingerprints(paths: Sequence[Path], progress: Callable[[int, int], None] | None) -> list[Fingerprint]:
    prints = []
    # OpenCV lets other threads run while it decodes.
    with ThreadPoolExecutor(max_workers=2) as pool:
        for done, item in enumerate(pool.map(lambda path: fingerprint(read_image(path)), paths), start=1):
            prints.append(item)
            if progress:
                progress(done, len(paths))
    return prints


def _duplicates(exact: Sequence[Pair], near: Sequence[Pair]) -> list[Finding]:
    findings = []
    if exact:
        seen = f"{len(exact)} calibration images are exact copies and were left out: {_pairs(exact)}"
        findings.append(Finding(EXACT, seen, "delete the copies, or give other images"))
    if near:
        seen = f"{len(near)} calibration images are nearly the same as another and were used: {_pairs(near)}"
        findings.append(Finding(NEARLY, seen, "give other images instead"))
    return findings


def _bad_set(used: Sequence[Picture]) -> list[Finding]:
    flat = [picture for picture in used if picture.contrast <= _CONSTANT_CONTRAST]
    small = [picture for picture in used if picture.upscale > _MAX_UPSCALE]
    rest = [picture for picture in used if picture not in flat]
    findings = []
    if len(used) == 1:
        seen = f"{used[0].name} is the only calibration image"
        findings.append(Finding(ONE, seen, f"give {_ENOUGH} or more, as different as what the device will see"))
    if flat:
        seen = f"{len(flat)} of {len(used)} calibration images are of one colour: {_names(flat)}"
        findings.append(Finding(CONSTANT, seen, "take them out, or check the camera they came from"))
    if small:
        seen = f"{len(small)} of {len(used)} calibration images are enlarged more than {_MAX_UPSCALE:g} times"
        findings.append(Finding(SMALL, f"{seen}: {_names(small)}", "give images of at least the input's size"))
    if rest and all(picture.colour <= _GREY_COLOUR for picture in rest):
        seen = f"all {len(rest)} calibration images are grey"
        findings.append(Finding(GREY, seen, "give colour images, unless the device's camera is grey"))
    if _alike(used):
        seen = f"the {len(used)} calibration images are nearly all alike, such as {used[0].name} and {used[1].name}"
        findings.append(Finding(ALIKE, seen, "give images of different scenes, not frames of one"))
    return findings


def _alike(used: Sequence[Picture]) -> bool:
    """Whether most pairs of pictures are nearly the same."""
    prints = [picture.print for picture in used]
    pairs = differences(prints, prints)[np.triu_indices(len(used), 1)]
    return bool(pairs.size and (pairs <= NEAR).mean() > 0.5)


def _names(pictures: Sequence[Picture]) -> str:
    return _some([picture.name for picture in pictures])


def _pairs(pairs: Sequence[Pair]) -> str:
    return _some([f"{pair.second} (like {pair.first})" for pair in pairs])


def _some(names: Sequence[str]) -> str:
    """The first few names; the report has all of them."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
