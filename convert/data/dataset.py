"""Annotated pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from convert.data.names import match_names
from runtime.errors import InputError


@dataclass(frozen=True)
class Truth:
    """The objects of one picture.

    Attributes:
        path: The picture.
        boxes: ``(n, 4)`` float32, ``x1, y1, x2, y2`` as fractions (0..1) of width and height.
        class_ids: ``(n,)`` int32, index into the data set's names.
        difficult: ``(n,)`` bool, objects that Pascal VOC's AP leaves out; ``None`` where no object is marked so.
    """

    path: Path
    boxes: npt.NDArray[np.float32]
    class_ids: npt.NDArray[np.int32]
    difficult: npt.NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Problem:
    """Something wrong with an annotated folder.

    Attributes:
        file: The label file, or the picture.
        line: Line of the label file, from 1; 0 when the whole file is meant.
        kind: One of a few words such as ``box outside``, by which problems are counted.
        detail: What was seen, on one line.
        kept: Whether the picture is used all the same.
    """

    file: Path
    line: int
    kind: str
    detail: str
    kept: bool = False

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else str(self.file)
        return f"{where}: {self.kind}: {self.detail}"


@dataclass(frozen=True)
class Dataset:
    """Pictures of one folder, annotated as a rule.

    Attributes:
        name: The folder's name, with its parent's.
        truths: One entry per picture that is used, by name.
        names: Class names; empty when the folder does not say.
        unlabelled: Pictures without a label file, counted as holding no object.
        problems: What is wrong with the folder, by file and line.
        skipped: Pictures left out because of a problem.
        crowds: Annotations of whole groups (COCO's ``iscrowd``), which are left out.
        annotated: False for plain pictures, whose truths are empty because nobody told them.
    """

    name: str
    truths: tuple[Truth, ...]
    names: tuple[str, ...]
    unlabelled: int = 0
    problems: tuple[Problem, ...] = ()
    skipped: int = 0
    crowds: int = 0
    annotated: bool = True

    @property
    def background(self) -> int:
        """Pictures that are used and, by their labels, hold no object."""
        return sum(not len(truth.class_ids) for truth in self.truths) if self.annotated else 0

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
        mapped = match_names(self.names, labels)
        if (mapped < 0).all():
            raise InputError(
                f"{self.name} has classes {', '.join(self.names[:5])}",
                f"the model knows {', '.join(labels[:5])}",
                "evaluate on data with the model's classes, or name them with --labels",
            )
        return mapped
