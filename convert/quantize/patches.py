"""What a convolution reads at chosen places of its output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Places:
    """Places of a convolution's output.

    Attributes:
        index: ``(pictures, n)`` positions in the flattened output, row by row.
        columns: Width of the output.
        pad: Rows above and below, columns left and right.
        kernel, strides, dilation: Of the convolution, rows first.
    """

    index: npt.NDArray[np.int64]
    columns: int
    pad: tuple[tuple[int, int], tuple[int, int]]
    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilation: tuple[int, int]


def places(layer: Any, shape: tuple[int, ...], count: int, random: np.random.Generator) -> Places:
    """Random places, different ones in each picture; all of them where there are no more than asked for.

    Args:
        layer: A convolution with padding ``same`` or ``valid``.
        shape: ``(pictures, height, width, channels)`` of its input.
        count: How many per picture.
        random: Where the randomness comes from.
    """
    pads, sizes = [], []
    for length, kernel, stride, dilation in zip(
        shape[1:3], layer.kernel_size, layer.strides, layer.dilation_rate, strict=True
    ):
        reach = (kernel - 1) * dilation + 1
        size = -(-length // stride) if layer.padding == "same" else (length - reach) // stride + 1
        total = max(0, (size - 1) * stride + reach - length) if layer.padding == "same" else 0
        pads.append((total // 2, total - total // 2))
        sizes.append(size)
    cells = sizes[0] * sizes[1]
    index = np.stack([random.permutation(cells)[:count] for _ in range(shape[0])])
    pad = (pads[0], pads[1])
    return Places(index, sizes[1], pad, layer.kernel_size, layer.strides, layer.dilation_rate)


def patches_at(inputs: Floats, where: Places) -> Floats:
    """The input under the kernel at each place.

    Args:
        inputs: ``(pictures, height, width, channels)``.
        where: Places of the output.

    Returns:
        ``(pictures * n, kernel height, kernel width, channels)``; 0 beyond the border.
    """
    if any(map(any, where.pad)):
        inputs = np.pad(inputs, ((0, 0), *where.pad, (0, 0)))
    picture = np.arange(len(inputs))[:, None]
    row = where.index // where.columns * where.strides[0]
    column = where.index % where.columns * where.strides[1]
    patches = np.empty((*where.index.shape, *where.kernel, inputs.shape[-1]), np.float32)
    for i in range(where.kernel[0]):
        for j in range(where.kernel[1]):
            patches[:, :, i, j] = inputs[picture, row + i * where.dilation[0], column + j * where.dilation[1]]
    return patches.reshape(-1, *patches.shape[2:])
