"""Weights by layer and variable name: the same bytes for the same weights, and one line for what does not fit."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

from convert.models.ssd import SsdConfig, ssd
from convert.train.weights import adopt_weights, load_weights, save_weights
from runtime.errors import InputError
from tests.convert.small_nets import randomise


def build(seed: int, filters: int = 4, extra: bool = False) -> keras.Model:
    """Every kind of variable a detector has."""
    keras.utils.set_random_seed(seed)
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(filters, 3, use_bias=False, name="conv")(image)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.DepthwiseConv2D(3, name="depthwise", bias_initializer="uniform")(x)
    x = keras.layers.ReLU(name="relu")(x)
    if extra:
        x = keras.layers.Conv2D(2, 1, name="extra")(x)
    model = keras.Model(image, x)
    norm = model.get_layer("norm")
    norm.set_weights([np.random.default_rng(seed).uniform(0.5, 2, w.shape) for w in norm.get_weights()])
    return model


def same(one: keras.Model, other: keras.Model) -> bool:
    return all(map(np.array_equal, one.get_weights(), other.get_weights()))


def test_round_trip(tmp_path: Path) -> None:
    first, other, path = build(0), build(1), tmp_path / "w.npz"
    save_weights(path, first)
    assert not same(first, other)
    load_weights(other, path)
    assert same(first, other)
    with np.load(path, allow_pickle=False) as data:
        norm = ["norm/gamma", "norm/beta", "norm/moving_mean", "norm/moving_variance"]
        assert set(data.files) == {"conv/kernel", *norm, "depthwise/kernel", "depthwise/bias"}
        assert {str(data[name].dtype) for name in data.files} == {"float32"}
        np.testing.assert_array_equal(data["conv/kernel"], first.get_layer("conv").get_weights()[0])


def test_same_weights_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever writes them, under whatever name, whenever."""
    save_weights(tmp_path / "a.npz", build(0))
    monkeypatch.setattr("time.time", lambda: 2e9)
    copy = build(5)
    load_weights(copy, tmp_path / "a.npz")
    old = os.umask(0o077)
    try:
        save_weights(tmp_path / "b.npz", copy)
    finally:
        os.umask(old)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    save_weights(tmp_path / "c.npz", build(1))
    assert (tmp_path / "c.npz").read_bytes() != (tmp_path / "a.npz").read_bytes()


@pytest.mark.parametrize(
    ("network", "layer"), [({"extra": True}, "extra"), ({"filters": 5}, "conv")], ids=["missing", "other shape"]
)
def test_layer_that_does_not_fit_is_named(network: dict[str, Any], layer: str, tmp_path: Path) -> None:
    save_weights(tmp_path / "w.npz", build(0))
    with pytest.raises(InputError, match=rf"w\.npz has no weights for layer {layer}; expected the weights of this"):
        load_weights(build(1, **network), tmp_path / "w.npz")


def test_layers_are_adopted_by_name_and_shape(tmp_path: Path) -> None:
    first = build(0)
    save_weights(tmp_path / "w.npz", first)
    other = build(1, extra=True)
    before = other.get_layer("extra").get_weights()
    assert adopt_weights(other, tmp_path / "w.npz") == ["conv", "norm", "depthwise"]
    for name in ("conv", "norm", "depthwise"):
        assert all(map(np.array_equal, first.get_layer(name).get_weights(), other.get_layer(name).get_weights()))
    assert all(map(np.array_equal, before, other.get_layer("extra").get_weights()))
    stranger = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="conv")])
    with pytest.raises(InputError, match="has no layer of this network; expected weights whose layer names and shapes"):
        adopt_weights(stranger, tmp_path / "w.npz")


def write_keras2(path: Path, model: keras.Model, prefix: str) -> None:
    """The layout of Keras 2's ``.h5``: one group per layer, names twice, ``depthwise_kernel``."""
    with h5py.File(path, "w") as file:
        for layer in model.layers:
            for variable in layer.weights:
                name = variable.name
                if isinstance(layer, keras.layers.DepthwiseConv2D) and name == "kernel":
                    name = "depthwise_kernel"
                file[f"{prefix}{layer.name}/{layer.name}/{name}:0"] = np.asarray(variable)
        file.attrs["keras_version"] = "2.4.0"


@pytest.mark.parametrize("prefix", ["", "model_weights/", "model_weights/outer/inner/"])
@pytest.mark.parametrize("name", ["w.h5", "w.HDF5"])
def test_keras2_files(prefix: str, name: str, tmp_path: Path) -> None:
    first, other = build(0), build(1)
    write_keras2(tmp_path / name, first, prefix)
    assert adopt_weights(other, tmp_path / name) == ["conv", "norm", "depthwise"]
    assert same(first, other)


def npz(**arrays: Any) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def npy() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.zeros((3, 3, 3, 4)))
    return stream.getvalue()


PICKLED = npz(**{"conv/kernel": np.array([{}], object)})


def other_member() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("conv/kernel", b"no array")
    return stream.getvalue()


BROKEN: dict[str, tuple[str, bytes, str]] = {
    "empty": ("w.npz", b"", r"is empty \(0 bytes\)"),
    "text": ("w.npz", b"hello", "is not a weights file"),
    "zip magic": ("w.npz", b"PK\x03\x04" + bytes(60), "is not a weights file"),
    "one array": ("w.npz", npy(), "is not a weights file"),
    "pickled": ("w.npz", PICKLED, r"is not a weights file \(ValueError: Object arrays cannot be loaded"),
    "other member": ("w.npz", other_member(), r"is not a weights file \(conv/kernel is no array\)"),
    "cut": ("w.npz", npz(a=np.zeros(500))[:-40], "is not a weights file"),
    "no layer": ("w.npz", npz(a=np.zeros(3)), "has no weights for layer conv"),
    "texts": ("w.npz", npz(**{"conv/kernel": np.full((3, 3, 3, 4), "x")}), "has no weights for layer conv"),
    "complex": ("w.npz", npz(**{"conv/kernel": np.zeros((3, 3, 3, 4), complex)}), "has no weights for layer conv"),
    "garbage h5": (
        "w.h5",
        b"hello" * 50,
        r"is not a weights file .*; expected \.npz from convert train, or Keras \.h5",
    ),
    "h5 magic": ("w.h5", b"\x89HDF\r\n\x1a\n" + bytes(500), "is not a weights file"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_file_is_one_line(name: str, tmp_path: Path) -> None:
    file, data, message = BROKEN[name]
    (tmp_path / file).write_bytes(data)
    with pytest.raises(InputError, match=message) as caught:
        load_weights(build(0), tmp_path / file)
    assert len(caught.value.line()) < 500


def test_missing_file(tmp_path: Path) -> None:
    for use in (lambda: load_weights(build(0), tmp_path / "w.npz"), lambda: adopt_weights(build(0), tmp_path / "w.h5")):
        with pytest.raises(InputError, match="no such file; expected a weights file"):
            use()


def test_pickle_bomb_is_not_run(tmp_path: Path) -> None:
    """A pickle in the place of an array would run code."""
    path, mark = tmp_path / "w.npz", tmp_path / "ran"
    bomb = b"cos\nsystem\n(S'touch " + str(mark).encode() + b"'\ntR."
    for data in (
        bomb,
        b"\x93NUMPY\x01\x00\x46\x00{'descr': '|O', 'fortran_order': False, 'shape': (), }".ljust(80) + bomb,
    ):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("conv/kernel.npy", data)
        with pytest.raises(InputError):
            load_weights(build(0), path)
        path.write_bytes(data)
        with pytest.raises(InputError):
            load_weights(build(0), path)
    assert not mark.exists()


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_any_wrong_byte_is_an_input_error_or_harmless(suffix: str, tmp_path: Path) -> None:
    model, path = build(0), tmp_path / f"w{suffix}"
    if suffix == ".npz":
        save_weights(path, model)
    else:
        write_keras2(path, model, "model_weights/")
    data, random, refused = path.read_bytes(), np.random.default_rng(0), 0
    for _ in range(150):
        damaged = bytearray(data)
        damaged[int(random.integers(len(data)))] ^= 1 << int(random.integers(8))
        path.write_bytes(damaged)
        try:
            load_weights(model, path)
        except InputError:
            refused += 1
    # HDF5 checks its structure, not its numbers.
    assert refused > (5 if suffix == ".h5" else 20)


def test_narrow_weights_go_on_computing_what_they_did_inside_a_wide_network(tmp_path: Path) -> None:
    def build(width: float, neck: int) -> keras.Model:
        return ssd(SsdConfig(3, 64, width, neck=neck))[0]

    narrow, wide = randomise(build(0.35, 16)), randomise(build(0.75, 24), seed=1)
    path = tmp_path / "narrow.npz"
    save_weights(path, narrow)
    assert adopt_weights(wide, path, widen=True) == [layer.name for layer in wide.layers if layer.weights]
    picture = np.random.default_rng(0).uniform(-1, 1, (1, 64, 64, 3)).astype(np.float32)
    for name in ("Conv1_relu", "block_2_add", "block_6_expand_relu", "block_16_project_BN", "neck_32_add_relu"):
        before, after = (
            np.asarray(keras.Model(model.input, model.get_layer(name).output)(picture)) for model in (narrow, wide)
        )
        assert before.shape[-1] < after.shape[-1]
        np.testing.assert_allclose(after[..., : before.shape[-1]], before, atol=1e-4 * np.abs(before).max())
        assert np.abs(after[..., before.shape[-1] :]).max() > 0


def test_wide_weights_do_not_go_into_a_narrow_network(tmp_path: Path) -> None:
    wide = ssd(SsdConfig(3, 64, 0.75, neck=24))[0]
    path = tmp_path / "wide.npz"
    save_weights(path, wide)
    narrow = ssd(SsdConfig(3, 64, 0.35, neck=16))[0]
    with pytest.raises(InputError, match="no layer of this network"):
        adopt_weights(narrow, path, widen=True)
