"""Zero weights: the pattern exactly, the smallest by what the device holds, and zeros that stay zero in training."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convert.prune.graph import unpacked
from convert.prune.plan import Scope
from convert.prune.sparsity import Pattern, _two_of_four, layer_adaptive, sparsify
from convert.prune.zeros import LayerZeros, Masks, keep_zeros, zero_report, zero_share
from convert.quantize.ptq import Options
from convert.train.fused_norm import fuse_norms
from convert.train.qat_network import qat_network, set_ranges
from runtime.errors import InputError
from tests.convert.small_nets import conv, make, pictures, quantised, randomise, relu, run
from tests.convert.sparse_nets import SPARSE, fours, kernel, mobile, norm

layers = keras.layers


DENSE = {
    "first": "reads the network's input",
    "depthwise": "is depthwise",
    "box": "makes an output of the network",
    "score": "makes an output of the network",
}


@pytest.fixture(scope="module")
def net() -> keras.Model:
    """Only its weights are ever changed, and nobody relies on them."""
    return make(mobile)


def test_two_of_four_against_a_loop(net: keras.Model) -> None:
    pruned = sparsify(net, "2:4")
    for name in SPARSE:
        for before, after in zip(fours(kernel(net, name)), fours(kernel(pruned, name)), strict=True):
            stay = sorted(range(len(before)), key=lambda i: -abs(before[i]))[:2]
            np.testing.assert_array_equal(after, [before[i] if i in stay else 0 for i in range(len(before))])


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 13), st.sampled_from([1, 3]), st.booleans())
def test_two_of_four(seed: int, inputs: int, size: int, whole: bool) -> None:
    """Whole numbers bring ties and zeros: never more than two of four, and none that could have stayed goes."""
    old = np.random.default_rng(seed).normal(0, 2, (size, size, inputs, 5))
    before = np.round(old) if whole else old
    after = np.where(_two_of_four(np.abs(before)), before, 0)
    for old, new in zip(fours(before), fours(after), strict=True):
        assert np.count_nonzero(new) == min(2, np.count_nonzero(old))
        assert np.all((new == old) | (new == 0))
        gone = np.abs(old[(new == 0) & (old != 0)])
        assert not gone.size or gone.max() <= np.abs(new[new != 0]).min()


def gain(model: keras.Model, name: str) -> np.ndarray:
    """What the batch normalisation behind a layer multiplies its kernel by; 1 where there is none."""
    behind = [node.operation for node in model.get_layer(name)._outbound_nodes]
    if not isinstance(behind[0], layers.BatchNormalization):
        return np.ones(kernel(model, name).shape[-1])
    gamma, _, _, variance = behind[0].get_weights()
    return np.asarray(gamma / np.sqrt(variance + behind[0].epsilon))


def device(model: keras.Model, name: str) -> np.ndarray:
    return np.asarray(np.abs(kernel(model, name) * gain(model, name))).ravel()


@settings(max_examples=6)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 0.99))
def test_share_by_layer(net: keras.Model, seed: int, share: float) -> None:
    model = randomise(net, seed)
    pruned = sparsify(model, "unstructured", share)
    for name in SPARSE:
        zero, size = kernel(pruned, name).ravel() == 0, device(model, name)
        assert abs(np.count_nonzero(zero) - share * len(zero)) <= 1
        assert size[zero].max(initial=0) <= size[~zero].min()


@settings(max_examples=6)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 0.99))
def test_share_of_the_whole_network(net: keras.Model, seed: int, share: float) -> None:
    model = randomise(net, seed)
    pruned = sparsify(model, "unstructured", share, "global")
    zero = {name: kernel(pruned, name).ravel() == 0 for name in sorted(SPARSE)}
    size = {name: device(model, name).astype(np.float64) for name in zero}
    gone: list[float] = []
    left: list[float] = []
    for name, mine in zero.items():
        assert size[name][mine].max(initial=0) <= size[name][~mine].min()
        scores = np.array([one**2 / (size[name][size[name] >= one] ** 2).sum() for one in size[name]])
        gone += scores[mine].tolist()
        left += scores[~mine].tolist()
    assert abs(len(gone) - share * (len(gone) + len(left))) <= 1
    assert max(gone, default=0) <= min(left) * (1 + 1e-6)


def test_scores_across_layers() -> None:
    """By hand; the size of a layer's weights as such does not matter."""
    np.testing.assert_allclose(layer_adaptive(np.array([[2.0, 1.0], [0.0, 2.0]])), np.array([[0.5, 1 / 9], [0, 1]]))
    sizes = np.random.default_rng(0).random(20)
    np.testing.assert_allclose(layer_adaptive(1e-3 * sizes), layer_adaptive(sizes))
    assert not layer_adaptive(np.zeros(3)).any()


def test_a_layer_of_small_weights_is_not_taken_out(net: keras.Model) -> None:
    model = randomise(net)
    before = sparsify(model, "unstructured", 0.8, "global")
    small, bias = model.get_layer("small").get_weights()
    model.get_layer("small").set_weights([1e-4 * small, bias])
    after = sparsify(model, "unstructured", 0.8, "global")
    np.testing.assert_array_equal(kernel(after, "small") == 0, kernel(before, "small") == 0)
    assert kernel(after, "small").any()


def test_the_normalisation_decides_which_are_small(net: keras.Model) -> None:
    """Half the output channels are multiplied by next to nothing: all their weights go first."""
    model = randomise(net)
    behind = model.get_layer("wide")._outbound_nodes[0].operation
    gamma, *rest = behind.get_weights()
    behind.set_weights([np.where(np.arange(16) % 2, 1e-6, 1) * gamma, *rest])
    zero = kernel(sparsify(model, "unstructured", 0.5), "wide") == 0
    assert zero[..., 1::2].all()
    assert not zero[..., ::2].any()


NOT_FOLDED = {
    "an activation between": lambda x: norm(conv(x, 4, activation="relu", name="inner")),
    "two readers": lambda x: layers.Add()([norm(y := conv(x, 4, name="inner")), y]),
    "another axis": lambda x: layers.BatchNormalization(axis=2)(conv(x, 4, name="inner")),
    "applied twice": lambda x: (lambda n, c: layers.Add()([n(c(x)), n(c(x))]))(
        layers.BatchNormalization(), layers.Conv2D(4, 3, padding="same", name="inner")
    ),
}


@pytest.mark.parametrize("case", NOT_FOLDED)
def test_no_normalisation_of_its_own(case: str) -> None:
    """What cannot be folded does not count, however small its factors are."""
    model = make(lambda x: conv(NOT_FOLDED[case](conv(x, 4)), 2))
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            gamma, *rest = layer.get_weights()
            layer.set_weights([np.where(np.arange(len(gamma)) < 2, 1e-4, 1) * gamma, *rest])
    size = np.abs(kernel(model, "inner"))
    zero = kernel(sparsify(model, "unstructured", 0.5), "inner") == 0
    np.testing.assert_array_equal(zero, size < np.median(size))


@pytest.mark.parametrize(
    ("pattern", "share", "scope"), [("2:4", None, "layer"), ("2:4", 0.5, "global"), ("unstructured", 0.9, "global")]
)
def test_what_stays_as_it_is(net: keras.Model, pattern: Pattern, share: float | None, scope: Scope) -> None:
    model = randomise(net, 3)
    before = [weight.copy() for weight in model.get_weights()]
    pruned = sparsify(model, pattern, share, scope)
    for mine, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(mine, old)
    assert [layer.name for layer in pruned.layers] == [layer.name for layer in model.layers]
    assert pruned.name == model.name
    for layer in model.layers:
        copy = pruned.get_layer(layer.name)
        assert copy is not layer
        if layer.weights:
            for at, (mine, old) in enumerate(zip(copy.get_weights(), layer.get_weights(), strict=True)):
                assert np.array_equal(mine, old) == (layer.name not in SPARSE or at > 0), layer.name


def test_report(net: keras.Model) -> None:
    model = randomise(net)
    model.get_layer("box").set_weights([np.zeros((1, 1, 22, 4)), np.zeros(4)])
    rows = {row.name: row for row in zero_report(sparsify(model, "2:4"))}
    assert {name: row.dense for name, row in rows.items() if row.dense} == DENSE
    assert rows.keys() == DENSE.keys() | SPARSE
    assert rows["wide"] == LayerZeros("wide", 9 * 8 * 16, 9 * 4 * 16)
    # 22 channels are five fours and two that stay, 6 are one four and two.
    assert (rows["hidden"].weights, rows["hidden"].zeros) == (22 * 7, 10 * 7)
    assert rows["small"].share == 2 / 6
    assert (rows["box"].zeros, rows["first"].zeros, rows["depthwise"].zeros) == (88, 0, 0)


def test_share_of_zeros(net: keras.Model) -> None:
    model = randomise(net)
    assert zero_share(model) == 0
    sizes = {row.name: row.weights for row in zero_report(model)}
    gone = sum(round(0.75 * sizes[name]) for name in SPARSE)
    assert zero_share(sparsify(model, "unstructured", 0.75)) == pytest.approx(gone / sum(sizes.values()))
    assert zero_share(make(lambda x: relu(x))) == 0


def classifier(x: Any) -> Any:
    x = layers.Conv1D(8, 3, name="line")(layers.Reshape((-1, 6))(relu(conv(x, 6, strides=4, groups=3))))
    x = layers.Dense(10, activation="relu", name="dense")(layers.Flatten()(x))
    x = relu(norm(layers.Dense(9, name="normed")(x)))
    return layers.Softmax()(layers.Reshape((4,))(layers.Dense(4, name="logits")(x)))


def test_dense_layers() -> None:
    """The output is found behind softmax and reshape; a dense layer may read what it likes."""
    model = make(classifier, 8, 8)
    rows = {row.name: row for row in zero_report(sparsify(model, "2:4"))}
    assert rows["logits"].dense == "makes an output of the network"
    assert (rows["line"].zeros, rows["line"].weights) == (3 * 2 * 8, 3 * 6 * 8)
    assert rows["dense"].share == 0.5
    # Ten inputs: two fours and two that stay.
    assert rows["normed"].zeros == 4 * 9
    size = device(model, "normed")
    zero = kernel(sparsify(model, "unstructured", 0.3), "normed").ravel() == 0
    assert size[zero].max() <= size[~zero].min()


def test_grouped_convolution() -> None:
    """The input channels of a group are neighbours, those of two groups are not."""
    model = make(lambda x: conv(conv(conv(x, 10), 6, groups=2, name="inner"), 2))
    weights = kernel(sparsify(model, "2:4"), "inner")
    assert weights.shape[2] == 5
    assert (np.count_nonzero(weights[:, :, :4], axis=2) == 2).all()
    assert weights[:, :, 4].all()


def test_what_has_no_pattern_stays_dense() -> None:
    def build(x: Any) -> Any:
        x = layers.SeparableConv2D(8, 3, name="separable")(conv(x, 8))
        return conv(conv(layers.Conv2DTranspose(8, 3, name="turned")(x), 4), 2)

    rows = {row.name: row for row in zero_report(sparsify(make(build), "2:4"))}
    assert rows["turned"].dense == "is a Conv2DTranspose"
    assert rows["separable"].dense == "is a SeparableConv2D"
    assert (rows["turned"].zeros, rows["separable"].zeros) == (0, 0)
    assert rows["separable"].weights == 9 * 8 + 8 * 8


def test_the_largest_of_a_tiny_layer_stays() -> None:
    model = make(lambda x: conv(conv(conv(x, 1), 2, 1, name="tiny"), 2))
    weights = kernel(sparsify(model, "unstructured", 0.99), "tiny").ravel()
    np.testing.assert_array_equal(weights != 0, np.abs(kernel(model, "tiny").ravel()) == device(model, "tiny").max())


def inside() -> keras.Model:
    image = keras.Input((16, 16, 8))
    return keras.Model(image, relu(conv(image, 8, name="deep")), name="block")


MODELS = {
    "nested": lambda: make(lambda x: conv(inside()(conv(x, 8, name="first")), 2, name="end")),
    "sequential": lambda: randomise(
        keras.Sequential(
            [
                keras.Input((16, 16, 3)),
                *(layers.Conv2D(n, 3, name=k) for n, k in ((8, "first"), (8, "deep"), (2, "end"))),
            ]
        )
    ),
    "operations": lambda: make(
        lambda x: conv(
            keras.ops.relu6(conv(keras.ops.relu(conv(x, 8, name="first")), 8, name="deep")) * 2, 2, name="end"
        )
    ),
}


@pytest.mark.parametrize("case", MODELS)
def test_other_models(case: str) -> None:
    model = MODELS[case]()
    images = pictures(2)
    before = run(model, images)[0]
    pruned = sparsify(model, "2:4")
    assert {row.name: row.share for row in zero_report(pruned)} == {"first": 0, "deep": 0.5, "end": 0}
    np.testing.assert_array_equal(run(model, images)[0], before)
    # The same weights are zero whoever sets them so.
    flat = unpacked(model)
    flat.get_layer("deep").set_weights(pruned.get_layer("deep").get_weights())
    np.testing.assert_allclose(run(pruned, images)[0], run(flat, images)[0], atol=1e-5)


class Subclassed(keras.Model):  # type: ignore[misc]
    def call(self, inputs: Any) -> Any:
        return inputs


ERRORS = [
    ("unstructured", None, "layer", "no share of zero weights; expected a number between 0 and 1"),
    ("unstructured", 0.0, "layer", "share 0 of zero weights"),
    ("unstructured", 1.0, "layer", "share 1 of zero weights"),
    ("unstructured", -0.5, "global", "share -0.5 of zero weights"),
    ("unstructured", float("nan"), "layer", "share nan of zero weights"),
    ("2:4", 0.25, "layer", "share 0.25 with 2:4; expected none"),
    ("1:4", None, "layer", "pattern '1:4'; expected unstructured or 2:4"),
    ("2:4", None, "block", "scope 'block'; expected global or layer"),
]


@pytest.mark.parametrize(("pattern", "share", "scope", "text"), ERRORS)
def test_errors(net: keras.Model, pattern: Any, share: float | None, scope: Any, text: str) -> None:
    with pytest.raises(InputError, match=text):
        sparsify(net, pattern, share, scope)


NOTHING = [
    (lambda: make(lambda x: conv(x, 2, name="only")), "nothing to make sparse .only makes an output"),
    (lambda: make(lambda x: relu(x)), "nothing to make sparse .no layer has a kernel"),
    (lambda: make(lambda x: conv(conv(x, 4, name="first"), 2, name="end")), "first reads the network's input"),
    (Subclassed, "is a sub-classed model"),
]


@pytest.mark.parametrize(("build", "text"), NOTHING)
def test_networks_without_anything_to_do(build: Any, text: str) -> None:
    with pytest.raises(InputError, match=text):
        sparsify(build(), "2:4")


def steps(model: keras.Model, masks: Masks | None, count: int = 3) -> list[np.ndarray]:
    """A few steps towards random targets; the weights at the end."""
    random = np.random.default_rng(5)
    # Traced for a graph, a step takes longer than all of them.
    model.compile(optimizer=keras.optimizers.AdamW(0.01), loss="mse", run_eagerly=True)
    images = pictures(2)
    targets = [random.normal(0, 1, tensor.shape) for tensor in run(model, images)]
    for _ in range(count):
        model.train_on_batch(images, targets)
        if masks:
            masks.apply(model)
    return [np.asarray(weight) for weight in model.get_weights()]


@pytest.mark.parametrize("pattern", ["2:4", "unstructured"])
def test_masks_hold_zeros_through_training(pattern: Pattern) -> None:
    pruned = sparsify(make(mobile, batch=None), pattern, 0.5)
    masks = keep_zeros(pruned)
    assert masks.keep.keys() == SPARSE
    before = {name: kernel(pruned, name) for name in SPARSE}
    steps(pruned, masks)
    for name, old in before.items():
        new = kernel(pruned, name)
        assert not new[old == 0].any()
        assert (new != old)[old != 0].mean() > 0.9
    # Without masks the very next steps fill them in.
    steps(pruned, None, 1)
    assert all(kernel(pruned, name)[old == 0].any() for name, old in before.items())


def test_masks_change_nothing_else(net: keras.Model) -> None:
    pruned = sparsify(randomise(net), "2:4")
    before = pruned.get_weights()
    keep_zeros(pruned).apply(pruned)
    for mine, old in zip(pruned.get_weights(), before, strict=True):
        np.testing.assert_array_equal(mine, old)
    assert keep_zeros(randomise(net)).keep == {}


def test_masks_hold_what_is_not_a_number(net: keras.Model) -> None:
    pruned = sparsify(randomise(net), "2:4")
    masks = keep_zeros(pruned)
    spoilt = np.where(masks.keep["wide"], kernel(pruned, "wide"), np.nan)
    pruned.get_layer("wide").kernel.assign(spoilt)
    masks.apply(pruned)
    assert np.isfinite(kernel(pruned, "wide")).all()


def test_masks_fit_networks_of_the_same_names() -> None:
    """Fused for training, nested, and folded with int8 rounding: zeros are in the same places."""
    pruned = sparsify(make(mobile, batch=None), "2:4")
    masks = keep_zeros(pruned)
    fused = fuse_norms(pruned)
    fused.get_layer("wide").kernel.assign(np.ones((3, 3, 8, 16)))
    masks.apply(fused)
    np.testing.assert_array_equal(kernel(fused, "wide"), masks.keep["wide"])

    net = quantised(sparsify(MODELS["nested"](), "2:4"), Options(refit=False))
    masks = keep_zeros(net.exact)
    trained = qat_network(net.exact, net.plan)
    set_ranges(trained, net.ranges)
    steps(trained, masks)
    assert (np.count_nonzero(kernel(trained, "deep").reshape(9, 2, 4, 8), axis=2) == 2).all()

    nested = MODELS["nested"]()
    Masks({"deep": masks.keep["deep"]}).apply(nested)
    deep = nested.get_layer("block").get_layer("deep").get_weights()[0]
    np.testing.assert_array_equal(deep != 0, masks.keep["deep"])


@pytest.mark.parametrize(
    ("keep", "text"),
    [
        ({"missing": np.ones((1, 1, 2, 2), np.bool_)}, "masks for missing .1, 1, 2, 2., no such layer"),
        ({"wide": np.ones((3, 3, 8, 5), np.bool_)}, "masks for wide .3, 3, 8, 5., a kernel of .3, 3, 8, 16."),
    ],
)
def test_masks_of_another_network(net: keras.Model, keep: dict[str, np.ndarray], text: str) -> None:
    with pytest.raises(InputError, match=text):
        Masks(keep).apply(net)
