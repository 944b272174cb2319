"""What a student without labels looks at: pictures in the shape in which the device shows them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from convert.train.augment import Augmentation
from convert.train.distil import Lesson, Pictures, lesson_inputs
from runtime.card import InputSpec
from runtime.engine import TensorSpec
from runtime.frame import Frame
from runtime.preprocess import Preprocessor, place
from tests.conftest import picture

STILL = Augmentation((1.0, 1.0), 1.0, 0.0, flip=False, mosaic=0.0, colour=0.0, blur=0.0, noise=0.0)
# Wide, tall, square, smaller and larger than the inputs, and a strip.
SIZES = [(150, 80), (80, 150), (90, 90), (60, 40), (500, 300), (400, 40)]
INPUTS: dict[str, dict[str, Any]] = {
    "stretched": {},
    "letterboxed": {"resize": "letterbox"},
    "wide": {"resize": "letterbox", "width": 128, "height": 64, "pad_value": 0},
    "tall, top left": {"resize": "letterbox", "width": 64, "height": 96, "position": "top-left", "pad_value": 200},
    "blue first": {"resize": "letterbox", "color": "bgr", "scale": (1 / 128,), "offset": (-1.0,)},
    "cut": {"resize": "crop", "crop": 0.8},
}


def spec_of(case: str) -> InputSpec:
    return InputSpec(**{"name": "image", "width": 96, "height": 96, **INPUTS[case]})


def device(path: Path, spec: InputSpec) -> np.ndarray:
    """The picture as the device sees it."""
    result = np.empty((1, spec.height, spec.width, 3), np.float32)
    pixels = cv2.imread(str(path))
    assert pixels is not None
    Preprocessor(spec, TensorSpec("image", result.shape, result.dtype)).write(
        Frame(np.asarray(pixels, np.uint8)), result
    )
    return np.asarray(result[0])


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("shapes")
    found = [folder / f"{width}x{height}.png" for width, height in SIZES]
    for seed, (path, size) in enumerate(zip(found, SIZES, strict=True)):
        # Without detail: what differs then is the place.
        cv2.imwrite(str(path), cv2.GaussianBlur(picture(seed, *size), (0, 0), 2))
    return found


@pytest.mark.parametrize("case", INPUTS)
@pytest.mark.parametrize("index", range(len(SIZES)))
def test_pictures_lie_where_the_device_puts_them(case: str, index: int, paths: list[Path]) -> None:
    spec, path = spec_of(case), paths[index]
    ((step, images),) = lesson_inputs(spec, Pictures([path]), Lesson(1, batch=1, augmentation=STILL))
    assert step == 0
    assert images.shape == (1, spec.height, spec.width, 3)
    apart = np.abs(images[0] - device(path, spec)) / spec.scale[0]
    # Resampled twice, the edge between picture and border is blurred over a pixel or two.
    assert apart.mean() < 3
    assert np.quantile(apart, 0.9) < 6


@pytest.mark.parametrize("case", ["letterboxed", "wide", "tall, top left"])
def test_borders_move_with_the_picture(case: str, paths: list[Path]) -> None:
    """Augmented, too: half as large, the picture has its borders around it and then something else."""
    spec = spec_of(case)
    how = Augmentation((0.5, 0.5), 1.0, 0.0, flip=False, mosaic=0.0, colour=0.0, blur=0.0, noise=0.0)
    inputs = lesson_inputs(spec, Pictures(paths[:1]), Lesson(40, batch=1, augmentation=how))
    pad, seen = spec.pad_value * spec.scale[0], []
    placement = place(spec, *SIZES[0])
    inside = placement.scale[0] * SIZES[0][0] * placement.scale[1] * SIZES[0][1] / (spec.width * spec.height)
    for _, images in inputs:
        seen.append(float((np.abs(images[0] - pad).max(-1) < 0.5 / 255).mean()))
    # A quarter of the input is the whole, and of that the border has its share.
    assert np.median(seen) == pytest.approx(0.25 * (1 - inside), abs=0.04)
