"""What the recognisers of layouts look at, and what they find."""

from __future__ import annotations

from dataclasses import field
from pathlib import Path
from typing import Literal

from runtime.card import DecoderSpec, Labels, OutputBinding, Thresholds
from runtime.engine import Engine, TensorSpec
from runtime.foreign.graph import Graph
from runtime.foreign.metadata import Metadata
from runtime.foreign.picture import Fitting
from runtime.values import value


@value
class Seen:
    """A file from elsewhere.

    Attributes:
        path: The file.
        engine: It, in an interpreter.
        graph, metadata: What the file says.
        names: Lines of the label file: the user's, else the one inside the file; may be empty.
        labels_file: The user's label file; ``None`` where none was given.
    """

    path: Path
    engine: Engine
    graph: Graph
    metadata: Metadata
    names: tuple[str, ...]
    labels_file: Path | None

    @property
    def input(self) -> TensorSpec:
        """The picture."""
        return self.engine.inputs[0]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the input in pixels."""
        return self.input.shape[2], self.input.shape[1]


@value
class Layout:
    """How a file's outputs are read. See ``ModelCard`` for the fields.

    Attributes:
        fitting: The usual way to feed such a network.
        assumptions: What was taken for granted.
    """

    task: Literal["detect", "classify"]
    outputs: tuple[OutputBinding, ...]
    decoder: DecoderSpec
    labels: Labels
    fitting: Fitting
    thresholds: Thresholds = field(default_factory=Thresholds)
    assumptions: tuple[str, ...] = ()
