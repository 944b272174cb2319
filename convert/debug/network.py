"""A network that was just quantised, taken apart: float and rounded side by side, tensor by tensor."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from convert.debug.statistics import Next, Statistics
from convert.progress import Progress
from convert.quantize.fake_quant import fake_quantise, rounded_layer, switches
from convert.quantize.graph import followers, inputs_of, is_convolution, is_depthwise, leaky_slope
from convert.quantize.ptq import Quantized
from convert.quantize.rounding import round_kernel
from convert.quiet import quiet

Floats = npt.NDArray[np.float32]

_BATCH = 4
# Values kept per tensor and picture, as whole rows of channels.
_ROWS = 64
# A weight channel stands out when its largest weight is so many times its usual one (its root mean square).
_PEAKED = 8.0


class Network:
    """The rounded network, in which single tensors can be put back to float.

    Weights that were fitted to rounded inputs take the error of each tensor back, and are wrong by as much when it is
    gone. So tensors are put back in a network with the float network's weights.

    Args:
        quantized: The network.
        samples: ``(n, height, width, 3)`` float32 inputs to look at.

    Attributes:
        float_heads: What the float network computes, ``(n, ...)`` for each output.
    """

    def __init__(self, quantized: Quantized, samples: Floats) -> None:
        self._quantized, self._samples = quantized, samples
        self._simulation = quantized.simulation()
        unfitted = fake_quantise(quantized.exact, quantized.plan, quantized.ranges, True, quantized.leave)
        self._switches = switches(unfitted)
        self._unfitted, self._fitted, self._exact = map(_compiled, (unfitted, self._simulation, quantized.exact))
        self.float_heads = self.run_float(samples)

    def run_float(self, samples: Floats) -> list[Floats]:
        """Outputs of the float network for any inputs."""
        return _in_batches(self._exact, samples)

    def heads(self) -> list[Floats]:
        """Outputs of the rounded network."""
        return _in_batches(self._fitted, self._samples)

    def restored(self, names: Collection[str]) -> list[Floats]:
        """Outputs with some tensors in float and the float network's weights."""
        restored = [name for name in names if name in self._switches]
        for name in restored:
            self._switches[name].assign(0.0)
        try:
            return _in_batches(self._unfitted, self._samples)
        finally:
            for name in restored:
                self._switches[name].assign(1.0)

    def measure(self) -> list[Statistics]:
        """Looks at every int8 tensor but the input."""
        quantized = self._quantized
        points, plan = _points(quantized), quantized.plan
        makers = _makers(quantized)
        step = _step(quantized, self._simulation, makers)
        sums = [_Sums() for _ in points]
        progress = Progress("comparing tensors")
        for at in range(0, len(self._samples), _BATCH):
            with quiet():
                results = step(tf.constant(self._samples[at : at + _BATCH]))
            for total, result in zip(sums, results, strict=True):
                total.add({name: value.numpy() for name, value in result.items()})
            progress(min(at + _BATCH, len(self._samples)), len(self._samples))
        members = plan.members()
        found = []
        for point, total in zip(points, sums, strict=True):
            others = tuple(each for each in members[plan.group[point]] if each != point)
            found.append(_statistics(quantized, point, total, others, makers.get(point)))
        return found


def _compiled(model: keras.Model) -> Any:
    return tf.function(lambda batch: keras.tree.flatten(model(batch, training=False)), autograph=False)


def _in_batches(run: Any, samples: Floats) -> list[Floats]:
    parts = []
    for at in range(0, len(samples), _BATCH):
        with quiet():
            parts.append([result.numpy() for result in run(tf.constant(samples[at : at + _BATCH]))])
    return [np.concatenate(each) for each in zip(*parts, strict=True)]


def _points(quantized: Quantized) -> tuple[str, ...]:
    """The tensors that are int8."""
    return tuple(point for point in quantized.plan.inner if point not in quantized.leave)


def _makers(quantized: Quantized) -> dict[str, Any]:
    """The convolution that makes each point, be it behind a fused ReLU."""
    makers: dict[str, Any] = {}
    points = set(quantized.plan.inner)
    for layer in quantized.exact.layers:
        if is_convolution(layer):
            name = layer.name if layer.name in points else followers(layer)[0].name
            makers[name] = layer
    return makers


def _step(quantized: Quantized, simulation: keras.Model, makers: Mapping[str, Any]) -> Any:
    exact, plan = quantized.exact, quantized.plan
    points = _points(quantized)
    convolved = [point for point in points if point in makers]
    float_probe = keras.Model(
        exact.input, [exact.get_layer(p).output for p in points] + [makers[p].input for p in convolved]
    )
    int8_probe = keras.Model(simulation.input, [simulation.get_layer(rounded_layer(p)).output for p in points])
    changes = {point: _kernel_change(makers[point]) for point in convolved}

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def step(batch: Any) -> list[dict[str, Any]]:
        floats = keras.tree.flatten(float_probe(batch, training=False))
        rounded = keras.tree.flatten(int8_probe(batch, training=False))
        inputs = dict(zip(convolved, floats[len(points) :], strict=True))
        found = []
        for point, wanted, mine in zip(points, floats, rounded, strict=False):
            low, high = (float(end) for end in quantized.ranges[plan.group[point]])
            one = _compare(wanted, mine, low, high)
            if point in inputs:
                one["weights"] = _mean(tf.square(_convolve(makers[point], inputs[point], changes[point])))
            found.append(one)
        return found

    return step


def _compare(wanted: Any, mine: Any, low: float, high: float) -> dict[str, Any]:
    channels = wanted.shape[-1]
    own = tf.square(tf.quantization.fake_quant_with_min_max_args(wanted, low, high) - wanted)
    step = (high - low) / 255
    outside = tf.logical_or(wanted > high + step, wanted < low - step)
    flat = tf.reshape(wanted, (-1, channels))
    places = tf.random.uniform((_ROWS * tf.shape(wanted)[0],), 0, tf.shape(flat)[0], tf.int32, seed=1)
    return {
        "low": tf.reduce_min(flat, 0),
        "high": tf.reduce_max(flat, 0),
        "rows": tf.gather(flat, places),
        "power": _mean(tf.square(wanted)),
        "error": _mean(tf.square(mine - wanted)),
        "own": _mean(own),
        "clipped": _mean(tf.where(outside, own, 0.0)),
    }


def _mean(tensor: Any) -> Any:
    """Mean over places, sum over pictures."""
    per_picture = tf.reduce_mean(tf.reshape(tensor, (tf.shape(tensor)[0], -1, tensor.shape[-1])), 1)
    return tf.reduce_sum(per_picture, 0)


def _kernel_change(layer: Any) -> Floats:
    """What rounding to the nearest step does to a kernel."""
    kernel = layer.get_weights()[0]
    return np.asarray(round_kernel(kernel, is_depthwise(layer)) - kernel)


def _convolve(layer: Any, inputs: Any, kernel: Floats) -> Any:
    settings = {"strides": layer.strides, "padding": layer.padding, "dilation_rate": layer.dilation_rate}
    if is_depthwise(layer):
        return keras.ops.depthwise_conv(inputs, kernel, **settings)
    return keras.ops.conv(inputs, kernel, **settings)


class _Sums:
    """Sums over batches."""

    def __init__(self) -> None:
        self.parts: dict[str, list[npt.NDArray[Any]]] = {}

    def add(self, part: Mapping[str, npt.NDArray[Any]]) -> None:
        for name, value in part.items():
            self.parts.setdefault(name, []).append(value)

    def total(self, name: str) -> npt.NDArray[np.float64]:
        """Sum over pictures; 0 where nothing was added."""
        return np.asarray(np.sum(self.parts.get(name, [np.zeros(1)]), axis=0), np.float64)


def _statistics(quantized: Quantized, point: str, sums: _Sums, others: Sequence[str], maker: Any | None) -> Statistics:
    rows = np.concatenate(sums.parts["rows"])
    pictures = len(rows) / _ROWS
    own, gain = sums.total("own") / pictures, quantized.seen[point].gain
    partner, activation = _neighbour(quantized, point)
    return Statistics(
        name=point,
        range=quantized.ranges[quantized.plan.group[point]],
        low=np.min(sums.parts["low"], axis=0),
        high=np.max(sums.parts["high"], axis=0),
        rows=rows,
        power=sums.total("power") / pictures,
        error=sums.total("error") / pictures,
        own=own,
        clipped=float(sums.total("clipped").sum() / max(sums.total("own").sum(), 1e-30)),
        noise=float(own @ gain),
        weight_noise=float(np.sum(sums.total("weights") / pictures * gain)),
        gain=gain,
        partner=partner,
        activation=activation,
        shares_with=tuple(others),
        weights="" if maker is None else _weights_text(maker),
        fixed=point in quantized.plan.fixed,
    )


def _neighbour(quantized: Quantized, point: str) -> tuple[str, Next]:
    """The point on the other side of a leaky ReLU, and what follows."""
    model, points = quantized.exact, quantized.plan.inner
    layer = model.get_layer(point)
    if isinstance(layer, keras.layers.LeakyReLU):
        source = inputs_of(layer)[0]
        return (source if source in points else ""), "behind leaky"
    if leaky_slope(model, point) is not None:
        behind = followers(layer)[0].name
        return (behind if behind in points else ""), "leaky"
    sigmoid = any(
        isinstance(each, keras.layers.Activation) and each.activation.__name__ == "sigmoid" for each in followers(layer)
    )
    return "", "sigmoid" if sigmoid else ""


def _weights_text(layer: Any) -> str:
    kernel = layer.get_weights()[0]
    outputs = kernel.shape[2] * kernel.shape[3] if is_depthwise(layer) else kernel.shape[3]
    flat = np.abs(kernel.reshape(-1, outputs).astype(np.float64))
    peak = flat.max(axis=0) / np.maximum(np.sqrt(np.mean(flat**2, axis=0)), 1e-30)
    text = f"rounded weights of {layer.name} bring more noise than its rounded numbers"
    if peak.max() < _PEAKED:
        return text
    many = int(np.count_nonzero(peak >= _PEAKED))
    return f"{text}; in {many} of {outputs} channels one weight is {peak.max():.0f} times the usual or more"
