"""Keras networks as graphs of operations: walked, and built again without models inside."""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import keras

from runtime.errors import InputError

Config = dict[str, Any]
# From an operation and its name in the copy to a new operation.
Copy = Callable[[Any, str], Any]


def nodes(model: keras.Model) -> Iterator[Any]:
    """The places where layers are applied, in the order of computation."""
    for depth in sorted(model._nodes_by_depth, reverse=True):
        yield from model._nodes_by_depth[depth]


def functional(model: keras.Model) -> keras.Model:
    """A model as a functional one, on the same layers and tensors.

    Raises:
        InputError: A sub-classed model, or a sequential one that does not know its input yet.
    """
    own = [kind for kind in type(model).__mro__ if kind.__module__.partition(".")[0] != "keras"]
    sequential = isinstance(model, keras.Sequential)
    if any("call" in vars(kind) for kind in own) or not (sequential or isinstance(model, keras.Function)):
        raise InputError(
            f"{model.name} is a sub-classed model ({type(model).__name__})",
            "expected functional or sequential models only: they say how their layers are connected",
            "write it as keras.Model(inputs, outputs)",
        )
    if not sequential:
        return model
    try:
        inputs, outputs = model.inputs, model.outputs
    except AttributeError:
        raise InputError(
            f"{model.name} was never built", "expected a model that knows its input", "put keras.Input(shape) in front"
        ) from None
    return keras.Model(*(each[0] if len(each) == 1 else each for each in (inputs, outputs)), name=model.name)


def unpacked(model: keras.Model) -> keras.Model:
    """A functional model without models inside.

    Returns:
        The given model's own layers where there is none inside, and otherwise copies of all of them. Layers keep their
        names; one inside that has the same name as another gets its model's name in front.

    Raises:
        InputError: A model that is not functional, or a layer that cannot be copied.
    """
    model = functional(model)
    if not any(isinstance(operation, keras.Model) for operation in model.operations):
        return model
    pairs: list[tuple[Any, Any]] = []

    def copy(operation: Any, name: str) -> Any:
        config = configuration(operation)
        pairs.append((operation, copied(operation, config | {"name": name} if "name" in config else config)))
        return pairs[-1][1]

    flat = rebuilt(model, copy)
    for operation, twin in pairs:
        if getattr(operation, "weights", None):
            twin.set_weights(operation.get_weights())
    return flat


def rebuilt(model: keras.Model, copy: Copy) -> keras.Model:
    """The same graph of other layers, models inside unpacked; the given one stays as it is.

    Args:
        model: A functional or sequential model.
        copy: Called once for each operation, inputs included.

    Returns:
        A functional model with the same structure of inputs and outputs, not compiled.

    Raises:
        InputError: A model that is not functional, or one that is called in a way that cannot be unpacked.
    """
    model = functional(model)
    names, copies = _names(model), dict[int, Any]()

    def twin(operation: Any) -> Any:
        if id(operation) not in copies:
            copies[id(operation)] = copy(operation, names[id(operation)])
        return copies[id(operation)]

    inputs = keras.tree.map_structure(lambda tensor: twin(tensor._keras_history.operation).output, model.input)
    outputs = _apply(model, keras.tree.flatten(inputs), twin, None)
    return keras.Model(inputs, keras.tree.pack_sequence_as(model.output, outputs), name=model.name)


def _apply(model: keras.Model, inputs: list[Any], twin: Callable[[Any], Any], training: bool | None) -> list[Any]:
    """Applies the copies of a model's layers one by one."""
    tensors = {id(old): new for old, new in zip(model.inputs, inputs, strict=True)}
    for node in nodes(model):
        if node.is_input:
            continue
        operation, (args, kwargs) = node.operation, node.arguments.fill_in(tensors)
        if isinstance(operation, keras.Model):
            inner = functional(operation)
            given, mode = _call(operation, inner, args, dict(kwargs))
            results = _apply(inner, given, twin, mode if training is None else training)
        else:
            if training is not None and _knows_training(operation):
                kwargs = {**kwargs, "training": training}
            results = keras.tree.flatten(twin(operation)(*args, **kwargs))
        tensors |= {id(old): new for old, new in zip(node.output_tensors, results, strict=True)}
    return [tensors[id(tensor)] for tensor in model.outputs]


def _call(model: keras.Model, inner: keras.Model, args: Any, kwargs: Config) -> tuple[list[Any], bool | None]:
    """The tensors a model inside another is called with, in the order of its inputs, and whether it is to train."""
    training = kwargs.pop("training", None)
    given = args[0] if args else kwargs.pop("inputs")
    # Keras fills in a mask of None for each input.
    if any(each is not None for each in keras.tree.flatten((args[1:], kwargs))):
        raise InputError(
            f"{model.name} is a model inside another, called with more than its inputs",
            "expected inputs and training=.. alone",
            "apply its layers one by one instead",
        )
    if isinstance(given, dict) and not isinstance(inner.input, dict):
        given = [given[tensor.name] for tensor in inner.inputs]
    tensors = keras.tree.flatten(given)
    if [len(tensor.shape) for tensor in tensors] != [len(tensor.shape) for tensor in inner.inputs]:
        raise InputError(
            f"{model.name} is a model inside another, called with a tensor of {len(tensors[0].shape)} axes",
            f"expected the {len(inner.inputs[0].shape)} of its input",
            "reshape the tensor first",
        )
    # Keras converts the inputs of a model, not those of a layer.
    pairs = zip(tensors, inner.inputs, strict=True)
    return [keras.ops.cast(new, old.dtype) if new.dtype != old.dtype else new for new, old in pairs], training


def _knows_training(operation: Any) -> bool:
    return isinstance(operation, keras.Layer) and "training" in inspect.signature(operation.call).parameters


def _names(model: keras.Model) -> dict[int, str]:
    """A name for each operation that no other has: its own, where no layer further outside has it."""
    names, used = dict[int, str](), set[str]()
    waiting = deque([("", model)])
    while waiting:
        prefix, inner = waiting.popleft()
        for operation in functional(inner).operations:
            if isinstance(operation, keras.Model):
                waiting.append((f"{prefix}{operation.name}_", operation))
            elif id(operation) not in names and not (prefix and isinstance(operation, keras.layers.InputLayer)):
                name, number = operation.name, 1
                while name in used:
                    name, number = f"{prefix}{operation.name}" + (f"_{number}" if number > 1 else ""), number + 1
                names[id(operation)] = name
                used.add(name)
    return names


def configuration(operation: Any) -> Config:
    """What an operation is built from.

    Raises:
        InputError: It does not tell.
    """
    try:
        return dict(operation.get_config())
    except Exception as error:  # Other people's code.
        raise _not_copied(operation, error) from None


def copied(operation: Any, config: Config) -> Any:
    """A new operation of the same kind, without weights yet.

    Raises:
        InputError: It cannot be built.
    """
    try:
        if isinstance(operation, keras.layers.Lambda):
            # Its function is code that runs already; Keras only guards against reading code from files.
            return type(operation).from_config(config, safe_mode=False)
        return type(operation).from_config(config)
    except Exception as error:  # Other people's code.
        raise _not_copied(operation, error) from None


def _not_copied(operation: Any, error: Exception) -> InputError:
    return InputError(
        f"{operation.name} ({type(operation).__name__}) cannot be copied ({type(error).__name__})",
        "expected a layer that Keras can build again from its configuration",
        "give it get_config() and register what it uses with keras.saving.register_keras_serializable()",
    )
