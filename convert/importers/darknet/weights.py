"""Reading of Darknet ``.weights`` files.

Layout (``src/parser.c``, ``load_weights_upto``): three little-endian int32 (major, minor, revision), the number of
images seen (uint64 from version 0.2 on, uint32 before), then float32 values layer by layer with no lengths or names.
A file of the wrong size is therefore the only sign that it does not belong to the network.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

from convert.importers.darknet.cfg import Section
from runtime.errors import InputError
from runtime.files import check_file

_ACTION = "give the .weights file that belongs to this .cfg"


class WeightsReader:
    """Hands out a weights file's numbers in order.

    Args:
        path: The ``.weights`` file.

    Raises:
        InputError: The file is missing, empty or shorter than its own header.
    """

    def __init__(self, path: Path) -> None:
        check_file(path, "a Darknet .weights file", _ACTION)
        self._name = path.name
        self._data = path.read_bytes()
        if len(self._data) < 16:
            raise InputError(f"{path} has {len(self._data)} bytes", "expected at least a 16-byte header", _ACTION)
        major, minor, _ = struct.unpack_from("<iii", self._data)
        wide = major * 10 + minor >= 2 and major < 1000 and minor < 1000
        self.offset = 20 if wide else 16

    def take(self, section: Section, what: str, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
        """The next array.

        Args:
            section: The layer it belongs to, for error texts.
            what: Its role there, such as ``biases``.
            shape: Its shape in Darknet's order.

        Raises:
            InputError: The file ends before the array does, or the array holds a value that is not finite.
        """
        count = 1
        for size in shape:
            count *= size
        left = len(self._data) - self.offset
        if left < 4 * count:
            raise InputError(
                f"{section.where()} (layer {section.index}) needs {4 * count} bytes of {what} at byte "
                f"{self.offset} of {self._name}, which ends at byte {len(self._data)}",
                "the weights file is too short for this network",
                _ACTION,
            )
        array = np.frombuffer(self._data, "<f4", count, self.offset).reshape(shape)
        if not np.isfinite(array).all():
            raise InputError(
                f"{section.where()} (layer {section.index}) has {what} that are not finite in {self._name} "
                f"after byte {self.offset}",
                "expected finite numbers",
                _ACTION,
            )
        self.offset += 4 * count
        return array

    def finish(self, last: Section) -> None:
        """Checks that nothing is left.

        Raises:
            InputError: Bytes remain after the last layer.
        """
        left = len(self._data) - self.offset
        if left:
            raise InputError(
                f"{self._name} has {left} bytes left at byte {self.offset}, after the last layer of "
                f"{last.where()} (layer {last.index})",
                "the weights file is too long for this network",
                _ACTION,
            )
