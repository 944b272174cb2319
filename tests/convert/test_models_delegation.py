"""Detectors of both shapes run in XNNPACK from the first op to the last; apart, because conversion takes its time."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from convert.models.ssd import SsdConfig, ssd
from convert.quantize.heads import SplitModel
from convert.quantize.tflite import to_tflite
from runtime.card import OutputBinding
from runtime.engine import Engine
from runtime.ops import list_ops


@pytest.mark.parametrize("neck", [0, 16])
def test_xnnpack_takes_every_op(neck: int, tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    model, heads = ssd(SsdConfig(3, 64, 0.35, neck=neck, kernel=5 if neck else 3))
    bindings = [OutputBinding(f"{kind}_{h.stride}", kind, i) for i, h in enumerate(heads) for kind in ("box", "class")]
    samples = np.random.default_rng(0).uniform(-1, 1, (2, 64, 64, 3)).astype(np.float32)
    (tmp_path / "net.tflite").write_bytes(to_tflite(SplitModel(model, tuple(bindings)), "image", samples=samples))
    ops = list_ops(Engine(tmp_path / "net.tflite"))
    assert [(op.name, op.reason) for op in ops.ops if not op.delegated] == []
    assert ops.partitions == 1
    assert {"PAD", "TILE", "RESIZE_NEAREST_NEIGHBOR"}.isdisjoint(op.name for op in ops.ops)
