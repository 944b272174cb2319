"""The number of candidates of a one-stage detector, as arithmetic on its grids of cells.

A detector with strides 8, 16 and 32 on 640x640 pixels has 80^2 + 40^2 + 20^2 = 8400 cells. With one candidate per cell
it gives 8400, with three anchors per cell 25200: which of two axes counts candidates, and how many anchors there are,
follows from the size of the input.
"""

from __future__ import annotations

_STRIDES = (4, 8, 16, 32, 64)
# Where runs of strides begin and end in the nets of this family. Single grids would fit too many numbers.
_FIRST, _LAST = (0, 1, 2), (4, 5)


def anchors_per_cell(candidates: int, width: int, height: int) -> int | None:
    """1 or 3 when so many candidates fit strides from 4, 8 or 16 to 32 or 64 on such an input; else ``None``."""
    cells = [-(-width // stride) * -(-height // stride) for stride in _STRIDES]
    runs = {sum(cells[first:last]) for first in _FIRST for last in _LAST}
    if candidates in runs:
        return 1
    return 3 if candidates % 3 == 0 and candidates // 3 in runs else None
