"""Trained weights on disk, by layer and variable name.

A ``.npz`` with one float32 array per variable, ``layer/variable``: readable by NumPy alone, the same bytes for the
same weights, and usable for any network that shares layers. Keras 2 ``.h5`` files are read too: ImageNet backbones come
in them.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import numpy.typing as npt

from convert.train.npz import Arrays, read_npz
from runtime.errors import InputError
from runtime.files import check_file, replacing

# Zip entries carry a date; a fixed one (the earliest zip knows) keeps equal weights equal files.
_EPOCH = (1980, 1, 1, 0, 0, 0)


def save_weights(path: Path, model: keras.Model) -> None:
    """Writes all weights of a network.

    Raises:
        InputError: The place cannot be written.
        RunError: The disk is full.
    """
    with replacing(path) as scratch, zipfile.ZipFile(scratch, "w", zipfile.ZIP_DEFLATED) as archive:
        for layer in model.layers:
            for variable in layer.weights:
                stream = io.BytesIO()
                np.save(stream, np.asarray(keras.ops.convert_to_numpy(variable), np.float32))
                entry = zipfile.ZipInfo(f"{layer.name}/{variable.name}.npy", _EPOCH)
                archive.writestr(entry, stream.getvalue(), zipfile.ZIP_DEFLATED)


def load_weights(model: keras.Model, path: Path) -> None:
    """Sets all weights of a network.

    Raises:
        InputError: The file is missing or damaged, or a layer is missing or has other shapes.
    """
    assign_weights(model, read_weights(path), path)


def assign_weights(model: keras.Model, stored: Arrays, path: Path) -> None:
    """Sets all weights of a network to those of a file that was read.

    Args:
        model: The network.
        stored: What :func:`read_weights` gave.
        path: The file, for the message.

    Raises:
        InputError: A layer is missing or has other shapes.
    """
    for layer in model.layers:
        if layer.weights and not _set(layer, stored):
            raise InputError(f"{path} has no weights for layer {layer.name}", "expected the weights of this network")


def adopt_weights(model: keras.Model, path: Path, widen: bool = False) -> list[str]:
    """Sets the layers of a network that the file has under the same name and with the same shapes.

    Args:
        model: The network.
        path: The file.
        widen: Also take over layers that are narrower in the file. They keep computing what they did: the further
            channels of a layer keep their random weights, and earlier channels start without hearing them.

    Returns:
        Names of these layers.

    Raises:
        InputError: The file is missing or damaged, or nothing in it fits.
    """
    stored = read_weights(path)
    taken = [layer.name for layer in model.layers if layer.weights and _set(layer, stored, widen)]
    if not taken:
        raise InputError(f"{path} has no layer of this network", "expected weights whose layer names and shapes agree")
    return taken


def _set(layer: keras.layers.Layer, stored: Arrays, widen: bool = False) -> bool:
    arrays = [stored.get(f"{layer.name}/{variable.name}") for variable in layer.weights]
    if widen:
        arrays = [
            _widened(a, np.asarray(v)) if a is not None else None for a, v in zip(arrays, layer.weights, strict=True)
        ]
    if any(
        a is None or a.dtype.kind not in "fiu" or a.shape != tuple(v.shape)
        for a, v in zip(arrays, layer.weights, strict=True)
    ):
        return False
    layer.set_weights(arrays)
    return True


def _widened(narrow: npt.NDArray[Any], wide: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Narrow weights in the corner of random wide ones; unchanged where they do not fit in."""
    if narrow.ndim != wide.ndim or any(a > b for a, b in zip(narrow.shape, wide.shape, strict=True)):
        return narrow
    result = wide.copy()
    if narrow.ndim == 4 and narrow.shape[-1] > 1:
        # A convolution's earlier outputs do not hear its new inputs; a depthwise kernel ends in a 1.
        result[..., : narrow.shape[-1]] = 0
    result[tuple(slice(size) for size in narrow.shape)] = narrow
    return result


def read_weights(path: Path) -> Arrays:
    """All weights of a file by ``layer/variable``.

    Raises:
        InputError: It is missing or damaged.
    """
    check_file(path, "a weights file (.npz)")
    try:
        if path.suffix.lower() in (".h5", ".hdf5"):
            return _read_keras2(path)
        return read_npz(path)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} is not a weights file ({str(error)[:200]})", "expected .npz from convert train, or Keras .h5"
        ) from None


def _read_keras2(path: Path) -> Arrays:
    """Weights of a Keras 2 model, nested models included: ``.../layer/variable:0``."""
    arrays: Arrays = {}

    def visit(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset) and "/" in name:
            layer, variable = name.split("/")[-2:]
            variable = variable.split(":")[0]
            # Keras 3 calls a depthwise convolution's weights kernel like any other's.
            arrays[f"{layer}/{variable.removeprefix('depthwise_')}"] = np.asarray(node)

    try:
        with h5py.File(path, "r") as file:
            file.get("model_weights", file).visititems(visit)
    # As with .npz, what damage raises depends on the byte.
    except Exception as error:
        raise ValueError(f"{type(error).__name__}: {error}") from None
    return arrays
