"""Darknet files that are wrong: each an error that names section, line and byte."""

from __future__ import annotations

import contextlib
import re
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from convert.importers import load_source
from convert.importers.darknet.cfg import read_cfg
from runtime.errors import InputError
from tests.nets import DarknetWriter, tiny_detector

HEADER = 20
FIRST_LAYER = 4 * 8 * (4 + 3 * 3 * 3)

Edit = Callable[[str], str]


def replace(old: str, new: str) -> Edit:
    def edit(text: str) -> str:
        assert old in text
        return text.replace(old, new, 1)

    return edit


# What is changed in the .cfg of the small detector, and the start of the message.
CFG_ERRORS: dict[str, tuple[Edit, str]] = {
    "unknown layer": (
        replace("[maxpool]", "[capsule]"),
        r"net\.cfg line \d+ \[capsule\] \(layer 7\) at byte \d+ of the weights is not supported; expected one of \[",
    ),
    "unknown activation": (replace("relu6", "gelu"), r"net\.cfg line \d+ \[convolutional\] has activation=gelu"),
    "option that changes the result": (
        replace("size=5", "size=5\nmaxpool_depth=1"),
        r"net\.cfg line \d+ \[maxpool\] has maxpool_depth=1; this option changes the result",
    ),
    "kernels that change": (
        replace("size=3", "size=3\nstretch_sway=1"),
        r"\[convolutional\] has stretch_sway=1; this option changes the result",
    ),
    "stride and dilation": (
        replace("stride=2", "stride=2\ndilation=2"),
        r"line \d+ \[convolutional\] has stride=2 with dilation=2; expected one of them to be 1",
    ),
    "shortcut with a factor": (
        replace("from=-2", "from=-2\nalpha=0.5"),
        r"line \d+ \[shortcut\] has alpha=0\.5; expected 1: other factors change the result",
    ),
    "not a number": (replace("filters=24", "filters=many"), r"line \d+ \[convolutional\] has filters=many"),
    "two numbers": (replace("filters=24", "filters=2,4"), r"line \d+ \[convolutional\] has filters=2,4"),
    "negative": (replace("filters=24", "filters=-4"), r"has filters=-4; expected one whole number in 1"),
    "huge": (replace("filters=24", "filters=99999999"), r"has filters=99999999"),
    "groups do not divide": (replace("groups=8", "groups=3"), r"has groups=3 for 8 channels in and 8 out"),
    "route to the future": (replace("layers=-3", "layers=40"), r"\[route\] has layers=40, which points to layer 40"),
    "route before the start": (replace("layers=-3", "layers=-30"), r"points to layer -\d+; expected a layer before"),
    "route without layers": (replace("layers=-3", ""), r"\[route\] has no 'layers='"),
    "route of other sizes": (replace("layers=-1,6", "layers=-1,0"), r"\[route\] joins layers of 8x8, 32x32"),
    "shortcut of other shape": (replace("from=-2", "from=-4"), r"\[shortcut\] adds layers of 16x16x16, 32x32x8"),
    "upsample by three": (replace("[upsample]\nstride=2", "[upsample]\nstride=3"), r"\[upsample\] has stride=3"),
    "mask beyond anchors": (replace("mask=3,4,5", "mask=3,4,9"), r"\[yolo\] has 12 anchor numbers and mask=3,4,9"),
    "anchor without size": (
        replace("anchors=10,14", "anchors=10,0"),
        r"\[yolo\] has anchors=10,0,23,.*; expected numbers above 0",
    ),
    "centres that run backwards": (
        replace("classes=3", "classes=3\nscale_x_y=-1.05"),
        r"\[yolo\] has scale_x_y=-1\.05; expected numbers above 0",
    ),
    "wrong head": (
        replace("classes=3", "classes=4"),
        r"\[yolo\] gets 24 channels; expected 3 anchors x \(5 \+ 4 classes\)",
    ),
    "new coordinates": (replace("classes=3", "classes=3\nnew_coords=1"), r"\[yolo\] has new_coords=1"),
    "grey input": (replace("channels=3", "channels=1"), r"line \d+ \[net\] has channels=1"),
    "no width": (replace("width=64", ""), r"\[net\] has no 'width='"),
    "odd input": (replace("width=64", "width=60"), r"\[yolo\] has a 4x4 grid on an input of 60x64|adds|joins"),
    "pooling with more padding than window": (
        replace("size=5", "size=5\npadding=5"),
        r"\[maxpool\] has size=5 padding=5 on 4x4; expected a window that fits",
    ),
    "window larger than the picture": (replace("size=3", "size=255"), r"\[convolutional\]"),
    "line without equals": (replace("filters=24", "filters 24"), r"net\.cfg line \d+ is 'filters 24'"),
    "broken header": (replace("[upsample]", "[upsample"), r"net\.cfg line \d+ is '\[upsample'"),
    "no net": (replace("[net]", "[nut]"), r"net\.cfg starts with \[nut\]; expected \[net\]"),
    "option before any section": (lambda text: "a=1\n" + text, r"net\.cfg line 1 is 'a=1'"),
    "comments alone": (lambda text: "# nothing\n; here\n", r"net\.cfg starts with nothing"),
    "no yolo": (lambda text: text.split("[yolo]")[0], r"has no \[yolo\] section|bytes left"),
}


@pytest.mark.parametrize("name", CFG_ERRORS)
def test_wrong_cfg(name: str, tmp_path: Path) -> None:
    edit, pattern = CFG_ERRORS[name]
    cfg = tiny_detector().write(tmp_path, "net")
    cfg.write_text(edit(cfg.read_text()))
    with pytest.raises(InputError) as caught:
        load_source(cfg)
    assert re.search(pattern, str(caught.value)), caught.value
    assert "\n" not in caught.value.line()


@pytest.mark.parametrize(
    ("channels", "size", "pattern"),
    [
        (1, (64, 64), r"line \d+ \[net\] has channels=1; expected 3"),
        (3, (64, 1 << 20), r"input size 64x1048576; expected at most 4096 pixels each way; choose a smaller one"),
    ],
)
def test_wrong_input_where_the_size_is_given(
    channels: int, size: tuple[int, int], pattern: str, tmp_path: Path
) -> None:
    cfg = tiny_detector().write(tmp_path, "net")
    cfg.write_text(cfg.read_text().replace("channels=3", f"channels={channels}"))
    with pytest.raises(InputError, match=pattern):
        load_source(cfg, input_size=size)


def test_message_names_the_line_a_reader_would_look_at(tmp_path: Path) -> None:
    cfg = tiny_detector().write(tmp_path, "net")
    cfg.write_text(cfg.read_text().replace("[maxpool]", "[capsule]", 1))
    line = cfg.read_text().splitlines().index("[capsule]") + 1
    with pytest.raises(InputError, match=rf"net\.cfg line {line} \[capsule\]"):
        load_source(cfg)


@pytest.mark.parametrize(
    ("change", "pattern"),
    [
        (lambda data: b"", r"net\.weights is empty"),
        (lambda data: data[:10], r"has 10 bytes; expected at least a 16-byte header"),
        (
            lambda data: data[:HEADER],
            rf"line \d+ \[convolutional\] \(layer 0\) needs 32 bytes of biases at byte {HEADER}",
        ),
        (
            lambda data: data[: HEADER + FIRST_LAYER],
            rf"\(layer 1\) needs 32 bytes of biases at byte {HEADER + FIRST_LAYER} of net\.weights, which ends at byte",
        ),
        (lambda data: data[:-1], r"\(layer 16\) needs \d+ bytes of weights at byte \d+"),
        (lambda data: data + b"\0" * 8, r"net\.weights has 8 bytes left at byte \d+, after the last layer .*too long"),
        (
            lambda data: data[:HEADER] + struct.pack("<f", float("nan")) + data[HEADER + 4 :],
            r"biases that are not finite",
        ),
        (
            lambda data: data[: HEADER + 3 * 32] + struct.pack("<f", -0.5) + data[HEADER + 3 * 32 + 4 :],
            r"line \d+ \[convolutional\] \(layer 0\) has a batch norm variance of -0\.5; expected none below 0",
        ),
        (lambda data: data[:-4] + struct.pack("<f", float("inf")), r"\(layer 16\) has weights that are not finite"),
    ],
)
def test_wrong_weights(change: Callable[[bytes], bytes], pattern: str, tmp_path: Path) -> None:
    cfg = tiny_detector().write(tmp_path, "net")
    weights = cfg.with_suffix(".weights")
    weights.write_bytes(change(weights.read_bytes()))
    with pytest.raises(InputError, match=pattern):
        load_source(cfg)


def test_weights_are_missing_or_named(tmp_path: Path) -> None:
    cfg = tiny_detector().write(tmp_path, "net")
    moved = cfg.with_suffix(".weights").rename(tmp_path / "other.bin")
    with pytest.raises(InputError, match=r"comes without weights; expected net\.weights beside it; give --weights"):
        load_source(cfg)
    assert load_source(cfg, moved).model.count_params() > 0


@pytest.mark.parametrize(("major", "minor", "size"), [(0, 1, 16), (0, 2, 20), (1, 0, 20), (2000, 0, 16)])
def test_old_and_new_headers(major: int, minor: int, size: int, tmp_path: Path) -> None:
    net = tiny_detector()
    cfg = net.write(tmp_path, "net")
    counter = struct.pack("<i" if size == 16 else "<q", 7)
    body = net.weights()[HEADER:]
    cfg.with_suffix(".weights").write_bytes(struct.pack("<iii", major, minor, 0) + counter + body)
    assert load_source(cfg).decoder.heads[0].stride == 16


def test_labels(tmp_path: Path) -> None:
    cfg = tiny_detector().write(tmp_path, "net")
    assert load_source(cfg).labels.names == ("class 0", "class 1", "class 2")
    (tmp_path / "a.names").write_text("x\ny\nz\n")
    assert load_source(cfg).labels.names == ("x", "y", "z")
    other = tmp_path / "other.txt"
    other.write_text("x\ny\n")
    with pytest.raises(InputError, match=r"other\.txt has 2 names; expected 3"):
        load_source(cfg, labels=other)


def test_input_size_can_be_chosen(tmp_path: Path) -> None:
    source = load_source(tiny_detector().write(tmp_path), input_size=(96, 96))
    assert (source.input.width, source.input.height) == (96, 96)
    assert [tuple(output.shape) for output in source.model.outputs] == [(1, 6, 6, 24), (1, 12, 12, 24)]


@pytest.mark.parametrize(
    ("line", "resize"), [("", "stretch"), ("letter_box=0", "stretch"), ("letter_box=1", "letterbox")]
)
def test_letterbox_as_the_file_says(line: str, resize: str, tmp_path: Path) -> None:
    cfg = tiny_detector().write(tmp_path)
    cfg.write_text(cfg.read_text().replace("[net]", f"[net]\n{line}"))
    assert load_source(cfg).input.resize == resize


def test_spaces_comments_repeats_and_case_mean_what_they_mean_to_darknet(tmp_path: Path) -> None:
    path = tmp_path / "x.cfg"
    path.write_text("; c\n [ Net ] \n# c\nwidth = 6 4\nWIDTH=32\n\n[conv]\nfilters\t=\t8\n")
    net, conv = read_cfg(path)
    assert (net.kind, net.integer("width", 0), conv.kind, conv.integer("filters", 0)) == ("net", 64, "conv", 8)
    assert conv.where() == "x.cfg line 7 [conv]"
    assert conv.where("filters") == "x.cfg line 8 [conv]"


CFG_TEXT = tiny_detector().cfg()
TOKENS = sorted({*re.findall(r"[a-z_]+|\[[a-z]+\]|-?\d+", CFG_TEXT), "=", ",", "\n", "#", "[", "]", "1e400", "nan"})


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    edits=st.lists(st.tuples(st.integers(0, len(CFG_TEXT)), st.integers(0, 12), st.sampled_from(TOKENS)), max_size=4)
)
def test_any_cfg_gives_a_network_or_an_input_error(edits: list[tuple[int, int, str]], tmp_path: Path) -> None:
    text = CFG_TEXT
    for place, length, token in edits:
        text = text[:place] + token + text[place + length :]
    net = tiny_detector()
    cfg = net.write(tmp_path)
    cfg.write_text(text)
    with contextlib.suppress(InputError):
        load_source(cfg)


def test_weights_are_read_before_a_huge_layer_is_built(tmp_path: Path) -> None:
    """A .cfg may promise terabytes; the file's size says otherwise."""
    net = DarknetWriter(64, 64)
    net.lines.append("[convolutional]\nfilters=65536\nsize=255\npad=1\n[convolutional]\nfilters=65536\nsize=255\n")
    net.numbers = [np.zeros(10)]
    with pytest.raises(InputError, match="too short"):
        load_source(net.write(tmp_path))
