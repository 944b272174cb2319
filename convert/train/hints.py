"""Learning from a teacher's inner tensors beside its answers (FitNets; Romero et al., arXiv:1412.6550).

Answers alone tell a cut network little about which of its many layers is wrong. Where the channels of teacher and
student correspond, the tensors between the layers can be compared too, and each layer hears of its own error.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from convert.forward import run_network
from convert.quantize.graph import inputs_of, outputs_of

Floats = npt.NDArray[np.float32]
Channels = Mapping[str, npt.NDArray[np.int64]]

# Tensors compared; of more, evenly spread ones.
_MOST = 24
# A tensor that hardly varies has nothing to say.
_LEAST_VARIANCE = 1e-8


def junctions(model: keras.Model) -> list[str]:
    """Layers whose result more than one layer reads, in order: residual sums and taps. No inputs, no outputs."""
    readers: dict[str, int] = {}
    for layer in model.layers:
        for name in () if isinstance(layer, keras.layers.InputLayer) else inputs_of(layer):
            readers[name] = readers.get(name, 0) + 1
    ends = outputs_of(model)
    found = [
        layer.name
        for layer in model.layers
        if readers.get(layer.name, 0) > 1 and layer.name not in ends and not isinstance(layer, keras.layers.InputLayer)
    ]
    if len(found) <= _MOST:
        return found
    return [found[at] for at in np.linspace(0, len(found) - 1, _MOST).round().astype(int)]


class Hints:
    """The tensors a student and its teacher are compared at.

    Args:
        student: A network with fewer channels.
        teacher: The network it was made of.
        channels: By layer name, which of the teacher's channels the student has left.
        stands: By layer name, the teacher's layer it is compared with, where that has another name.
    """

    def __init__(
        self, student: keras.Model, teacher: keras.Model, channels: Channels, stands: Mapping[str, str] | None = None
    ) -> None:
        names, twins = [name for name in junctions(student) if len(channels.get(name, ()))], stands or {}
        self._asked = [student.get_layer(name).output for name in names]
        self._taught = [
            ops.take(teacher.get_layer(twins.get(name, name)).output, channels[name], axis=-1) for name in names
        ]
        self._teacher = teacher

    def __len__(self) -> int:
        return len(self._asked)

    def asked(self, student: keras.Model) -> keras.Model:
        """A student with one output, and these tensors behind it."""
        return keras.Model(student.inputs, [student.output, *self._asked])

    def taught(self, teacher: keras.Model) -> keras.Model:
        """The same of the teacher."""
        return keras.Model(teacher.inputs, [teacher.output, *self._taught])

    def losses(self, images: Floats) -> list[HintLoss]:
        """A loss for each tensor, by how much it varies over some pictures."""
        if not self._taught:
            return []
        found = run_network(keras.Model(self._teacher.inputs, self._taught), images)
        return [HintLoss(max(float(each.var()), _LEAST_VARIANCE)) for each in found]


class HintLoss(keras.losses.Loss):  # type: ignore[misc]
    """Mean square difference in units of the teacher's variance.

    Args:
        variance: Of the teacher's tensor.
    """

    def __init__(self, variance: float) -> None:
        super().__init__(name="hint")
        self._variance = variance

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss, a scalar: 0 where nothing differs, 1 where the student knows nothing."""
        return ops.mean(ops.square(y_true - y_pred)) / self._variance
