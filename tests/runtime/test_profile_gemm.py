"""The model files that measure matrix products: whether they compute them, and where."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from runtime.engine import Engine
from runtime.foreign.flatbuffer import Table
from runtime.ops import list_ops
from runtime.profile import gemm


@pytest.mark.parametrize("dtype", ["int8", "uint8", "float32"])
def test_file_holds_a_matrix_product_for_xnnpack(dtype: str, tmp_path: Path) -> None:
    path = tmp_path / "gemm.tflite"
    path.write_bytes(gemm.gemm_model(dtype, 24, 16, 40))
    engine = Engine(path)
    (op,) = list_ops(engine).ops
    assert (op.name, op.delegated) == ("CONV_2D", True)
    values = np.random.default_rng(1).integers(0, 100, (1, 1, 24, 40)).astype(dtype)
    engine.input_view()[:] = values
    engine.invoke()
    (model,) = Table.root(path.read_bytes()).tables(2)
    buffers = Table.root(path.read_bytes()).tables(4)
    weights = np.frombuffer(buffers[1].data(0), dtype).reshape(16, 40)
    assert [tensor.text(3) for tensor in model.tables(0)] == ["input", "weights", "bias", "output"]
    zero = 128 if dtype == "uint8" else 0
    exact = (values[0, 0].astype(np.float64) - zero) @ (weights.astype(np.float64) - zero).T
    # Scales of the file: 0.02 and 0.01 in, 0.02 per term out.
    expected = exact if dtype == "float32" else np.clip(exact * 0.02 * 0.01 / (40 * 0.02), -128, 127)
    got = engine.output_view(0)[0, 0].astype(np.float64) - zero
    assert got.shape == (24, 16)
    assert np.abs(got).max() > 1
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-2 if dtype == "float32" else 1.01)


def test_the_fastest_shape_is_the_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([0.004, 0.001, 0.003])
    monkeypatch.setattr(gemm, "_seconds", lambda model, threads: next(seconds))
    best = gemm.best_gemm("int8", 1)
    assert (best.m, best.n, best.k) == gemm.SHAPES[1]
    assert best.gmacs == pytest.approx(best.m * best.n * best.k / 0.001 / 1e9, rel=1e-3)


def test_memory_is_slower_than_anything_unheard_of() -> None:
    assert 0.05 < gemm.copy_speed() < 2000
