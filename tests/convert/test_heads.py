"""Cutting heads by kind changes nothing but their shape."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from convert.importers import load_source
from convert.quantize.heads import anchor_channels, split_heads
from convert.source import SourceModel
from runtime.errors import InputError


@pytest.fixture(scope="module")
def source(tiny_cfg: Path) -> SourceModel:
    return load_source(tiny_cfg)


def test_split_outputs_are_the_raw_heads_sorted(source: SourceModel) -> None:
    image = np.random.default_rng(0).uniform(0, 1, (1, 64, 64, 3)).astype(np.float32)
    split = split_heads(source)
    raw = [np.asarray(tensor) for tensor in source.model(image)]
    outputs = [np.asarray(tensor) for tensor in split.model(image)]
    names = ["box_16", "objectness_16", "class_16", "box_8", "objectness_8", "class_8"]
    assert [binding.name for binding in split.bindings] == names
    for index, head in enumerate(raw):
        rows, columns = head.shape[1:3]
        anchors = head.reshape(1, rows, columns, 3, 8)
        parts = (anchors[..., :4], anchors[..., 4:5], anchors[..., 5:])
        for part, output in zip(parts, outputs[3 * index : 3 * index + 3], strict=True):
            np.testing.assert_allclose(output, part.reshape(1, rows, columns, -1), rtol=1e-5, atol=1e-5)


def test_channel_order() -> None:
    assert anchor_channels(14, 2, slice(0, 4)).tolist() == [0, 1, 2, 3, 7, 8, 9, 10]
    assert anchor_channels(14, 2, slice(4, 5)).tolist() == [4, 11]
    assert anchor_channels(14, 2, slice(5, None)).tolist() == [5, 6, 12, 13]


def test_head_that_is_no_convolution_is_refused(source: SourceModel) -> None:
    from dataclasses import replace

    outputs = [keras.layers.ReLU()(tensor) for tensor in source.model.outputs]
    with pytest.raises(InputError, match="head 0 of tiny is a ReLU"):
        split_heads(replace(source, model=keras.Model(source.model.input, outputs)))
