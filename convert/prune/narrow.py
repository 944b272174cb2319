"""A pruned network from its weights: the shapes in the file say which layers are narrower."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from convert.prune.graph import channel_graph
from convert.prune.lineage import Lineage
from convert.prune.rules import CONVOLUTIONS, SEPARABLE, TRANSPOSED
from convert.prune.work import work
from convert.train.weights import assign_weights, read_weights
from runtime.card import Pruning
from runtime.errors import InputError

Arrays = Mapping[str, npt.NDArray[Any]]


def load_narrow(whole: keras.Model, path: Path) -> tuple[keras.Model, Pruning | None]:
    """The network whose weights a file holds.

    Args:
        whole: The network before pruning; its weights do not matter.
        path: Weights by layer and variable name (``convert.train.weights``).

    Returns:
        The pruned network, and how much of the whole is gone; ``None`` where nothing is.

    Raises:
        InputError: The file is missing or damaged, or its weights are not those of a pruned version of this network.
    """
    stored = read_weights(path)

    def clone(layer: Any) -> Any:
        config = layer.get_config()
        if (count := _channels(layer, stored)) is not None:
            width = "units" if isinstance(layer, keras.layers.Dense) else "filters"
            if count > config[width]:
                raise InputError(
                    f"{path} has {count} channels for layer {layer.name}",
                    f"expected a pruned {whole.name}, at most {config[width]}",
                )
            if (groups := config.get("groups", 1)) > 1:
                # Groups go as a whole.
                config["groups"] = count * groups // config[width]
            config[width] = count
        return type(layer).from_config(config)

    try:
        model = keras.models.clone_model(whole, clone_function=clone)
    # Channel counts that do not fit together are found by whichever layer meets them.
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{path} does not fit together ({' '.join(str(error).split())[:140]})", f"expected a pruned {whole.name}"
        ) from None
    if model.output_shape != whole.output_shape:
        raise InputError(f"{path} has heads of {model.output_shape}", f"expected those of {whole.name}, pruned inside")
    assign_weights(model, stored, path)
    gone = pruning(whole, model)
    return model, gone if gone.ratio else None


def pruning(whole: keras.Model, model: keras.Model) -> Pruning:
    """What a pruned network has lost, as the card says it."""
    before, after = Lineage(whole), channel_graph(model)
    made = [sum(len(ids) for _, ids in graph.makers()) for graph in (before.graph, after)]
    macs = work(after).macs(np.ones(after.classes, np.bool_))
    return Pruning(round(1 - made[1] / made[0], 4), round(before.work.macs(before.everything)), round(macs))


def _channels(layer: Any, stored: Arrays) -> int | None:
    """How many channels a layer makes according to the file."""
    if isinstance(layer, TRANSPOSED):
        name, axis = "kernel", -2
    elif isinstance(layer, SEPARABLE):
        name, axis = "pointwise_kernel", -1
    elif isinstance(layer, (*CONVOLUTIONS, keras.layers.Dense)):
        name, axis = "kernel", -1
    else:
        return None
    array = stored.get(f"{layer.name}/{name}")
    return int(array.shape[axis]) if array is not None and array.ndim >= 2 else None
