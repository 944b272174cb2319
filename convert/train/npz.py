"""Reading ``.npz`` files that may be damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Arrays = dict[str, npt.NDArray[Any]]


def read_npz(path: Path) -> Arrays:
    """All arrays of a file by name; none of them pickled.

    Raises:
        OSError: It cannot be read.
        ValueError: It is not such a file, or damaged; with the reason.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as data:
            arrays = {name: data[name] for name in data.files}
    except OSError:
        raise
    # What damage raises depends on the byte: zipfile, zlib, struct and NumPy's header parser all have their own.
    except Exception as error:
        raise ValueError(f"{type(error).__name__}: {error}") from None
    # NumPy hands out other members as they are.
    if strange := [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]:
        raise ValueError(f"{strange[0]} is no array")
    return arrays
