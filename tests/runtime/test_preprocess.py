"""Pictures into tensors, against plain NumPy."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.card import Color, InputSpec
from runtime.engine import TensorSpec
from runtime.errors import InputError
from runtime.frame import Frame
from runtime.preprocess import Preprocessor, pixel_table, place
from tests.conftest import picture

FORMATS: dict[str, TensorSpec] = {
    "float32": TensorSpec("x", (1, 24, 32, 3), np.dtype(np.float32)),
    "float16": TensorSpec("x", (1, 24, 32, 3), np.dtype(np.float16)),
    "int8 1/255": TensorSpec("x", (1, 24, 32, 3), np.dtype(np.int8), 1 / 255, -128),
    "int8 0.02": TensorSpec("x", (1, 24, 32, 3), np.dtype(np.int8), 0.02, -20),
    "uint8 1/255": TensorSpec("x", (1, 24, 32, 3), np.dtype(np.uint8), 1 / 255, 0),
    "uint8 1/128": TensorSpec("x", (1, 24, 32, 3), np.dtype(np.uint8), 1 / 128, 128),
    "int16": TensorSpec("x", (1, 24, 32, 3), np.dtype(np.int16), 1 / 32767, 0),
}
NORMALISATIONS = {
    "0..1": ((1 / 255,), (0.0,)),
    "-1..1": ((1 / 127.5,), (-1.0,)),
    "0..255": ((1.0,), (0.0,)),
    "per channel": ((0.017, 0.0175, 0.0174), (-2.1, -2.0, -1.8)),
}


def expected_tensor(spec: InputSpec, tensor: TensorSpec, resized: np.ndarray[Any, Any]) -> Any:
    """Normalise and quantise by the definition."""
    real = resized.astype(np.float64) * np.array(spec.scale) + np.array(spec.offset)
    if not tensor.quantized:
        return real.astype(tensor.dtype)
    stored = real / tensor.scale
    stored = np.floor(np.abs(stored) + 0.5) * np.sign(stored) + tensor.zero_point
    limits = np.iinfo(tensor.dtype)
    return np.clip(stored, limits.min, limits.max).astype(tensor.dtype)


@pytest.mark.parametrize("color", ["rgb", "bgr"])
@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@pytest.mark.parametrize("name", FORMATS)
def test_stretched_picture(name: str, normalisation: str, color: Color) -> None:
    tensor = FORMATS[name]
    scale, offset = NORMALISATIONS[normalisation]
    spec = InputSpec("x", 32, 24, color, "stretch", scale, offset)
    frame = Frame(picture(1, 100, 60), "bgr")
    view: np.ndarray[Any, Any] = np.zeros(tensor.shape, tensor.dtype)
    Preprocessor(spec, tensor).write(frame, view)
    resized = cv2.resize(frame.pixels, (32, 24))
    ordered = resized[:, :, ::-1] if color == "rgb" else resized
    np.testing.assert_array_equal(view[0], expected_tensor(spec, tensor, ordered))


@pytest.mark.parametrize("frame_color", ["rgb", "bgr"])
@pytest.mark.parametrize("color", ["rgb", "bgr"])
def test_red_stays_red(color: Color, frame_color: Color) -> None:
    """A pure red picture fills the channel the network calls red, whatever either side's order."""
    pixels = np.zeros((10, 10, 3), np.uint8)
    pixels[:, :, 0 if frame_color == "rgb" else 2] = 255
    tensor = FORMATS["uint8 1/255"]
    view = np.zeros(tensor.shape, np.uint8)
    Preprocessor(InputSpec("x", 32, 24, color), tensor).write(Frame(pixels, frame_color), view)
    red = 0 if color == "rgb" else 2
    assert (view[..., red] == 255).all()
    assert view.sum() == 255 * 32 * 24


def test_letterbox_keeps_the_shape_and_pads_the_rest() -> None:
    spec = InputSpec("x", 32, 24, "bgr", "letterbox", pad_value=7)
    tensor = FORMATS["uint8 1/255"]
    view = np.zeros(tensor.shape, np.uint8)
    preprocessor = Preprocessor(spec, tensor)
    tall = Frame(np.full((100, 50, 3), 200, np.uint8))
    preprocessor.write(tall, view)
    assert (view[0, :, 10:22] == 200).all()
    assert (view[0, :, :10] == 7).all()
    assert (view[0, :, 22:] == 7).all()
    # Another shape through the same buffers leaves no trace of the first.
    preprocessor.write(Frame(np.full((20, 80, 3), 100, np.uint8)), view)
    assert (view[0, 8:16] == 100).all()
    assert (view[0, :8] == 7).all()
    assert (view[0, 16:] == 7).all()


def test_letterbox_at_the_top_left() -> None:
    spec = InputSpec("x", 32, 24, "bgr", "letterbox", pad_value=7, position="top-left")
    view = np.zeros((1, 24, 32, 3), np.uint8)
    preprocessor = Preprocessor(spec, FORMATS["uint8 1/255"])
    placement = preprocessor.write(Frame(np.full((100, 50, 3), 200, np.uint8)), view)
    assert (view[0, :, :12] == 200).all()
    assert (view[0, :, 12:] == 7).all()
    assert (placement.offset, placement.scale) == ((0, 0), (0.24, 0.24))


@pytest.mark.parametrize(
    ("width", "height", "crop", "window"),
    [
        # left, top, width and height of the part that is kept, worked out by hand for a 32x24 input.
        (320, 240, 1.0, (0, 0, 320, 240)),
        (640, 240, 1.0, (160, 0, 320, 240)),
        (320, 960, 1.0, (0, 360, 320, 240)),
        (320, 240, 0.875, (20, 15, 280, 210)),
        (16, 48, 0.5, (4, 21, 8, 6)),
        (1, 1, 0.5, (0, 0, 1, 1)),
    ],
)
def test_crop_takes_the_middle(width: int, height: int, crop: float, window: tuple[int, int, int, int]) -> None:
    spec = InputSpec("x", 32, 24, "bgr", "crop", crop=crop)
    frame = Frame(picture(2, width, height))
    view = np.zeros((1, 24, 32, 3), np.uint8)
    placement = Preprocessor(spec, FORMATS["uint8 1/255"]).write(frame, view)
    x, y, w, h = window
    np.testing.assert_array_equal(view[0], cv2.resize(frame.pixels[y : y + h, x : x + w], (32, 24)))
    # The tensor's corners are those of the window.
    corners = placement.to_image(np.array([[0, 0, 32, 24]], np.float32))
    np.testing.assert_allclose(corners, np.array([[x, y, x + w, y + h]], np.float32), atol=1e-3)


def test_crop_follows_the_size_of_each_picture() -> None:
    spec = InputSpec("x", 32, 24, "bgr", "crop")
    view = np.zeros((1, 24, 32, 3), np.uint8)
    preprocessor = Preprocessor(spec, FORMATS["uint8 1/255"])
    for width, height in ((320, 240), (100, 300), (320, 240), (300, 100)):
        frame = Frame(picture(4, width, height))
        preprocessor.write(frame, view)
        again = np.zeros_like(view)
        Preprocessor(spec, FORMATS["uint8 1/255"]).write(frame, again)
        np.testing.assert_array_equal(view, again)


@pytest.mark.parametrize("resize", ["letterbox", "stretch", "crop"])
def test_the_smaller_picture_is_chosen_anew_for_each_frame(resize: Any) -> None:
    """What one frame's sizes decided is not taken over for the next one, which has others."""
    spec, tensor = (
        InputSpec("x", 64, 48, "rgb", resize),
        TensorSpec("x", (1, 48, 64, 3), np.dtype(np.int8), 1 / 255, -128),
    )
    used = Preprocessor(spec, tensor)
    sizes: list[tuple[tuple[int, int], tuple[int, int] | None]] = [
        ((160, 120), (80, 60)),
        ((160, 120), (40, 30)),  # too small for the network
        ((160, 120), None),
        ((320, 180), (80, 60)),  # the same small picture of another large one
        ((80, 60), None),
        ((160, 120), (80, 60)),
    ]
    for seed, (size, small) in enumerate(sizes):
        frame = Frame(picture(seed, *size), "bgr", small=picture(seed + 50, *small) if small else None)
        views = [np.empty(tensor.shape, np.int8) for _ in range(2)]
        again, fresh = used.write(frame, views[0]), Preprocessor(spec, tensor).write(frame, views[1])
        np.testing.assert_array_equal(views[0], views[1])
        assert again == fresh
        enough = small is not None and small != (40, 30)
        seen = frame.small if enough else frame.pixels
        alone = np.empty(tensor.shape, np.int8)
        assert seen is not None
        Preprocessor(spec, tensor).write(Frame(seen, "bgr"), alone)
        np.testing.assert_array_equal(views[0], alone)
        assert (again.width, again.height) == size


@given(
    st.sampled_from(["stretch", "letterbox"]),
    *(st.integers(1, 2000) for _ in range(2)),
    *(st.integers(8, 640) for _ in range(2)),
)
def test_boxes_come_back_where_they_were(resize: Any, width: int, height: int, net_width: int, net_height: int) -> None:
    spec = InputSpec("x", net_width, net_height, "rgb", resize)
    placement = place(spec, width, height)
    box = np.array([[0.1 * width, 0.2 * height, 0.7 * width, 0.9 * height]], np.float32)
    scale, offset = np.array(placement.scale * 2), np.array(placement.offset * 2)
    inside = box * scale + offset
    assert (inside >= -1e-3).all()
    assert (inside <= np.array([net_width, net_height] * 2) + 1e-3).all()
    np.testing.assert_allclose(placement.to_image(inside.astype(np.float32)), box, rtol=1e-3, atol=1e-2)
    # Far outside is clipped to the picture.
    np.testing.assert_array_equal(
        placement.to_image(np.array([[-1e6, -1e6, 1e6, 1e6]], np.float32)), [[0, 0, width, height]]
    )


@given(st.floats(1e-4, 0.5), st.integers(-128, 127), st.floats(-3, 3), st.floats(1e-3, 0.1))
def test_table_is_within_half_a_step(scale: float, zero_point: int, offset: float, factor: float) -> None:
    tensor = TensorSpec("x", (1, 1, 1, 3), np.dtype(np.int8), scale, zero_point)
    table = pixel_table(InputSpec("x", 1, 1, scale=(factor,), offset=(offset,)), tensor)[0, :, 0]
    real = np.arange(256) * factor + offset
    back = (table.astype(np.float64) - zero_point) * scale
    free = (table > -128) & (table < 127)
    assert (np.abs(back - real)[free] <= scale * 0.5001).all()
    assert (np.diff(table.astype(int)) >= 0).all()


def test_wrong_tensors_are_refused() -> None:
    with pytest.raises(InputError, match=r"has shape \(1, 24, 32, 3\); the card says \(1, 48, 64, 3\)"):
        Preprocessor(InputSpec("x", 64, 48), FORMATS["float32"])
    with pytest.raises(InputError, match="is int32"):
        Preprocessor(InputSpec("x", 32, 24), TensorSpec("x", (1, 24, 32, 3), np.dtype(np.int32)))


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("color", ["rgb", "bgr"])
@pytest.mark.parametrize(("width", "height"), [(640, 640), (300, 641), (641, 300)])
def test_large_letterboxed_picture(name: str, color: Color, width: int, height: int) -> None:
    """Larger than a band of rows, with margins on one side or the other, against the definition."""
    own = FORMATS[name]
    tensor = TensorSpec("x", (1, 320, 416, 3), own.dtype, own.scale, own.zero_point)
    spec = InputSpec("x", 416, 320, color, "letterbox", *NORMALISATIONS["per channel"], pad_value=114)
    frame = Frame(picture(6, width, height), "bgr")
    view: np.ndarray[Any, Any] = np.full(tensor.shape, 55, tensor.dtype)
    placement = Preprocessor(spec, tensor).write(frame, view)
    (left, top), ratio = placement.offset, placement.scale
    size = round(width * ratio[0]), round(height * ratio[1])
    whole = np.full((320, 416, 3), 114, np.uint8)
    whole[int(top) : int(top) + size[1], int(left) : int(left) + size[0]] = cv2.resize(frame.pixels, size)
    ordered = whole[:, :, ::-1] if color == "rgb" else whole
    np.testing.assert_array_equal(view[0], expected_tensor(spec, tensor, ordered))


@pytest.mark.parametrize(
    ("pixels", "seen"),
    [
        (np.zeros((20, 30), np.uint8), r"shape \(20, 30\) and type uint8"),
        (np.zeros((20, 30, 4), np.uint8), r"shape \(20, 30, 4\)"),
        (np.zeros((0, 30, 3), np.uint8), r"shape \(0, 30, 3\)"),
        (np.zeros((20, 30, 3), np.float32), "type float32"),
        (None, "of type NoneType.*cv2.imread gives None"),
        ([[[0, 0, 0]]], "of type list"),
    ],
)
def test_what_is_no_colour_picture_is_refused(pixels: Any, seen: str) -> None:
    view = np.zeros((1, 24, 32, 3), np.uint8)
    preprocessor = Preprocessor(InputSpec("x", 32, 24), FORMATS["uint8 1/255"])
    preprocessor.write(Frame(np.zeros((20, 30, 3), np.uint8)), view)
    with pytest.raises(InputError, match=seen):
        preprocessor.write(Frame(pixels), view)
