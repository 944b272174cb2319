"""Annotated pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from runtime.errors import InputError


@dataclass(frozen=True)
class Truth:
    """The objects of one picture.

    Attributes:
        path: The picture.
        boxes: ``(n, 4)`` float32, ``x1, y1, x2, y2`` as fractions (0..1) of width and height.
        class_ids: ``(n,)`` int32, index into the data set's names.
    """

    path: Path
    boxes: npt.NDArray[np.float32]
    class_ids: npt.NDArray[np.int32]


@dataclass(frozen=True)
class Dataset:
    """Annotated pictures of one folder.

    Attributes:
        name: The folder's name, with its parent's.
        truths: One entry per picture, by name.
        names: Class names; empty when the folder does not say.
        unlabelled: Pictures without a label file, counted as holding no object.
    """

    name: str
    truths: tuple[Truth, ...]
    names: tuple[str, ...]
    unlabelled: int = 0

    def class_map(self, labels: tuple[str, ...]) -> npt.NDArray[np.int32]:
        """A model's class index for each of the data set's, -1 for a class the model does not know.

        Args:
            labels: The model's class names.

        Raises:
            InputError: Not one name in common, or a class number beyond the model's classes.
        """
        used = max((int(truth.class_ids.max(initial=-1)) for truth in self.truths), default=-1)
        if not self.names:
            if used >= len(labels):
                raise InputError(
                    f"{self.name} uses class {used} and has no names file",
                    f"the model has {len(labels)} classes",
                    "add classes.txt to the folder",
                )
            return np.arange(len(labels), dtype=np.int32)
        positions = {label: index for index, label in enumerate(labels)}
        mapped = np.array([positions.get(name, -1) for name in self.names], np.int32)
        if (mapped < 0).all():
            raise InputError(
                f"{self.name} has classes {', '.join(self.names[:5])}",
                f"the model knows {', '.join(labels[:5])}",
                "evaluate on data with the model's classes",
            )
        return mapped
