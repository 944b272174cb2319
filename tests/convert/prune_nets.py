"""Networks to prune, and a second way to leave channels out that knows nothing of how they are followed.

The filters that are to go give NaN in the whole network. NaN stays in its channel wherever channels are kept apart, and
every layer that makes channels out of channels takes NaN as zero. What comes out must be what the pruned network gives;
NaN at the end is a channel that somebody mixed with others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from convert.prune.graph import ChannelGraph, Keep, channel_graph
from convert.prune.surgery import remove

layers = keras.layers
Build = Callable[[Any], Any]
Arrays = list[np.ndarray]

# Largest difference allowed, as a share of the output's range.
TOLERANCE = 1e-5

_MAKING = (
    *(layers.Conv1D, layers.Conv2D, layers.Conv3D, layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Dense),
    *(layers.Conv3DTranspose, layers.SeparableConv1D, layers.SeparableConv2D),
)
# TensorFlow's maximum over a window forgets NaN.
_FORGETTING = (layers.MaxPooling1D, layers.MaxPooling2D, layers.MaxPooling3D)


def net(build: Build, *shape: int | None, seed: int = 0) -> keras.Model:
    """A model of one input, ``(8, 8, 3)`` unless told otherwise, with random weights."""
    image = keras.Input(shape or (8, 8, 3), name="image")
    return randomised(keras.Model(image, build(image)), seed)


def conv(x: Any, filters: int, name: str | None = None, size: int = 1, **options: Any) -> Any:
    return layers.Conv2D(filters, size, name=name, **{"padding": "same", **options})(x)


def randomised(model: keras.Model, seed: int = 0) -> keras.Model:
    """Weights that keep tensors near unit size, and no two channels alike."""
    random = np.random.default_rng(seed)
    for variable in model.weights:
        kind, shape = variable.path.rsplit("/", 1)[-1], variable.shape
        if kind in ("gamma", "moving_variance"):
            variable.assign(random.uniform(0.5, 1.5, shape))
        elif len(shape) > 1:
            fan_in = np.prod(shape[:-2]) if "depthwise" in variable.path else np.prod(shape[:-1])
            variable.assign(random.standard_normal(shape, np.float32) * np.float32(1.2 / np.sqrt(fan_in)))
        elif variable.dtype.startswith("float"):
            variable.assign(random.normal(0, 0.3, shape))
    return model


def some(model: keras.Model, seed: int = 0, batch: int = 2) -> Arrays:
    """Random inputs; axes without a size get 8."""
    random = np.random.default_rng(seed)
    return [
        random.uniform(-1, 1, (batch, *(size or 8 for size in tensor.shape[1:]))).astype(np.float32)
        for tensor in model.inputs
    ]


def run(model: keras.Model, inputs: Arrays) -> Arrays:
    """The outputs of a model."""
    packed = inputs[0] if len(inputs) == 1 else keras.tree.pack_sequence_as(model.input, inputs)
    return [np.asarray(each) for each in keras.tree.flatten(model(packed, training=False))]


def random_keep(graph: ChannelGraph, seed: int, share: float = 0.4) -> Keep:
    """Takes about this share of the free classes away, and leaves every layer a channel."""
    random = np.random.default_rng(seed)
    keep = (random.random(graph.classes) >= share) | ~graph.free()
    for _, made in graph.makers():
        if not keep[made].any():
            keep[random.choice(made)] = True
    return keep


def without(model: keras.Model, gone: Mapping[str, Keep], inputs: Arrays) -> Arrays:
    """The outputs of a whole network when some filters are taken as zero wherever they are read.

    Args:
        model: Functional or sequential; it is only run.
        gone: By layer name, which filters.
        inputs: One array per input.
    """
    outputs = [np.asarray(each) for each in _flow(model, [tf.constant(each) for each in inputs], gone)]
    assert not any(np.isnan(each).any() for each in outputs)
    return outputs


def _flow(model: keras.Model, inputs: list[Any], gone: Mapping[str, Keep]) -> list[Any]:
    if isinstance(model, keras.Sequential):
        for layer in model.layers:
            inputs = _apply(layer, (inputs[0],), {}, gone)
        return inputs
    tensors = {id(old): new for old, new in zip(model.inputs, inputs, strict=True)}
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            if not node.is_input:
                args, kwargs = node.arguments.fill_in(tensors)
                results = _apply(node.operation, args, kwargs, gone)
                tensors |= {id(old): new for old, new in zip(node.output_tensors, results, strict=True)}
    return [tensors[id(tensor)] for tensor in model.outputs]


def _apply(operation: Any, args: Any, kwargs: Any, gone: Mapping[str, Keep]) -> list[Any]:
    if isinstance(operation, keras.Model):
        return _flow(operation, keras.tree.flatten(args[0]), gone)
    lost: Any = gone.get(operation.name, False)
    if isinstance(operation, _FORGETTING):
        lost = tf.reduce_any(tf.math.is_nan(args[0]), range(len(args[0].shape) - 1))  # Padding is not NaN.
    if isinstance(operation, (*_MAKING, *_FORGETTING)):
        args = (tf.where(tf.math.is_nan(args[0]), 0.0, args[0]), *args[1:])
    results = keras.tree.flatten(operation(*args, **kwargs))
    return results if lost is False else [tf.where(lost, np.float32(np.nan), each) for each in results]


def check(model: keras.Model, seed: int = 0, share: float = 0.4) -> tuple[ChannelGraph, Keep, keras.Model]:
    """Prunes at random and compares with the whole network.

    Args:
        model: The network.
        seed: Of the choice of channels and of the inputs.
        share: About how many of the classes go.

    Returns:
        The graph, what was kept, and the pruned network.
    """
    before = state(model)
    graph = channel_graph(model)
    keep = random_keep(graph, seed, share)
    pruned = remove(graph, keep)
    same_state(before, state(model))

    gone = {layer.name: ~keep[made] for layer, made in graph.makers() if not keep[made].all()}
    inputs = some(model, seed)
    expected, found = without(model, gone, inputs), run(pruned, inputs)
    assert difference(expected, found) <= TOLERANCE
    if gone:
        assert pruned.count_params() < model.count_params()
        assert difference(run(model, inputs), found) > 100 * TOLERANCE, "these channels do not matter"
    assert [layer.name for layer in pruned.layers] == [layer.name for layer in graph.model.layers]
    assert {variable.dtype for variable in pruned.weights} == {variable.dtype for variable in model.weights}
    return graph, keep, pruned


def difference(expected: Arrays, found: Arrays) -> float:
    """Largest difference, as a share of the output's range."""
    assert [each.shape for each in expected] == [each.shape for each in found]
    return max(float(np.abs(a - b).max() / np.ptp(a)) for a, b in zip(expected, found, strict=True))


State = tuple[str, list[int], Arrays]


def state(model: keras.Model) -> State:
    """Everything about a model that pruning might disturb: configuration, places of its layers, weights."""
    places = [
        count for layer in every_layer(model) for count in (len(layer._inbound_nodes), len(layer._outbound_nodes))
    ]
    return str(model.get_config()), places, model.get_weights()


def same_state(before: State, after: State) -> None:
    assert before[:2] == after[:2]
    for one, other in zip(before[2], after[2], strict=True):
        np.testing.assert_array_equal(one, other)


def every_layer(model: keras.Model) -> list[Any]:
    """The layers of a model and of the models inside."""
    found = []
    for layer in model.layers:
        found += [layer, *every_layer(layer)] if isinstance(layer, keras.Model) else [layer]
    return found


def graph_of(build: Build, *shape: int | None) -> ChannelGraph:
    return channel_graph(net(build, *shape))


def free(graph: ChannelGraph, name: str) -> list[bool]:
    """Which of the channels a layer makes may go."""
    return [bool(each) for each in graph.free()[graph.makes[name]]]


def reasons(graph: ChannelGraph, name: str) -> set[str]:
    return {graph.reasons[int(each)] for each in graph.makes[name]}


def same(graph: ChannelGraph, *names: str) -> None:
    """The channels of all these layers leave together, each with the one in its place."""
    for name in names[1:]:
        np.testing.assert_array_equal(graph.makes[name], graph.makes[names[0]])


def apart(graph: ChannelGraph, first: str, second: str) -> None:
    assert not set(graph.makes[first]) & set(graph.makes[second])
