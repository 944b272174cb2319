"""Residual blocks that leave whole, and convolutions that become one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from convert.importers import load_source
from convert.prune.blocks import Block, find_blocks, layout, shortened, stand_ins
from convert.prune.measure import Scales
from convert.prune.plan import PrunePlan, Target
from convert.prune.reconstruct import reconstruct
from convert.prune.schedule import Job, Outcome, prune
from convert.prune.shallow import Blocks
from convert.prune.state import Store
from convert.prune.tune import unchanged
from convert.quantize.fold import fold_norms
from convert.stopwatch import Timing
from runtime.errors import BudgetError, InputError
from tests.convert.prune_family import counted
from tests.convert.small_nets import conv, make, pictures, relu, run

layers = keras.layers


def block(x: Any, number: int, wide: int = 12) -> Any:
    """An inverted residual: wide inside, nothing behind the last convolution."""
    inside = relu(conv(x, wide, 1, name=f"out_{number}"))
    inside = relu(layers.DepthwiseConv2D(3, padding="same", name=f"depthwise_{number}")(inside))
    return layers.Add(name=f"sum_{number}")([layers.Dropout(0.1)(conv(inside, 8, 1, name=f"in_{number}")), x])


def residual(image: Any) -> Any:
    """Two blocks in a row between linear convolutions, and one further down."""
    x = conv(relu(conv(image, 8, strides=2, name="stem")), 8, 1, name="narrow")
    x = relu(conv(block(block(x, 1), 2, 16), 16, 1, name="wide"))
    x = block(conv(x, 8, 3, name="neck"), 3)
    return conv(relu(conv(x, 16, 1, name="last")), 5, 1, name="head")


def named(model: keras.Model, *totals: str) -> list[Block]:
    return [each for each in find_blocks(model) if each.total in totals]


def zeroed(model: keras.Model, *names: str) -> keras.Model:
    """The network with convolutions that give nothing."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    for name in names:
        copy.get_layer(name).set_weights([np.zeros_like(each) for each in copy.get_layer(name).get_weights()])
    return copy


def close(one: keras.Model, other: keras.Model, images: Any) -> None:
    for a, b in zip(run(one, images), run(other, images), strict=True):
        assert np.abs(a - b).max() <= 1e-5 * np.abs(b).max()


def always(front: str, behind: str) -> bool:
    return True


def test_blocks_are_found_in_order() -> None:
    found = find_blocks(make(residual))
    assert [(each.total, each.skip) for each in found] == [("sum_1", "narrow"), ("sum_2", "sum_1"), ("sum_3", "neck")]


def tapped(image: Any) -> Any:
    """The branch is read by an output as well."""
    x = conv(image, 8, name="stem")
    inside = conv(relu(conv(x, 8, 1, name="a")), 8, 1, name="b")
    return [layers.Add(name="sum")([x, inside]), conv(inside, 2, 1, name="tap")]


def ending(image: Any) -> Any:
    """The sum is an output: its name is the output's."""
    x = conv(image, 8, name="stem")
    return layers.Add(name="sum")([x, conv(x, 8, 1, name="a")])


def bare(image: Any) -> Any:
    """A branch without weights."""
    x = conv(image, 8, name="stem")
    return conv(layers.Add(name="sum")([x, layers.ReLU()(x)]), 2, 1, name="head")


def doubled(image: Any) -> Any:
    x = conv(image, 8, name="stem")
    return conv(layers.Add(name="sum")([x, x]), 2, 1, name="head")


def spread(image: Any) -> Any:
    """One side is spread over the other: it cannot stand for the sum, the other can."""
    x = relu(conv(image, 8, name="stem"))
    few = conv(layers.GlobalAveragePooling2D(keepdims=True)(x), 8, 1, name="few")
    return conv(layers.Add(name="sum")([x, few]), 2, 1, name="head")


def projected(image: Any) -> Any:
    """Both sides have weights: either may leave."""
    x = relu(conv(image, 8, name="stem"))
    sides = [conv(relu(conv(x, 8, 3, name="a")), 16, 1, name="b"), conv(x, 16, 1, name="c")]
    return conv(relu(layers.Add(name="sum")(sides)), 2, 1, name="head")


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (tapped, []),
        (ending, []),
        (bare, []),
        (doubled, []),
        (spread, [Block("sum", "few", "stem")]),
        (projected, [Block("sum", "b", "c"), Block("sum", "c", "b")]),
    ],
)
def test_what_is_a_block(build: Callable[[Any], Any], expected: list[Block]) -> None:
    # A rectified linear unit is a layer of its own here: its name is Keras's.
    found = [dataclasses.replace(each, skip=each.skip.replace("re_lu", "stem")) for each in find_blocks(make(build))]
    assert [dataclasses.replace(each, skip=each.skip.partition("_")[0]) for each in found] == expected


@pytest.mark.parametrize(
    ("gone", "silent"),
    [(["sum_1"], ["in_1"]), (["sum_2"], ["in_2"]), (["sum_1", "sum_2", "sum_3"], ["in_1", "in_2", "in_3"])],
)
@pytest.mark.parametrize("worth", [None, always])
def test_without_blocks_as_with_their_ends_zero(gone: list[str], silent: list[str], worth: Any) -> None:
    model = make(residual)
    before = model.get_weights()
    small = shortened(model, layout(model, named(model, *gone), worth))
    close(small, zeroed(model, *silent), pictures(3))
    names = {layer.name for layer in small.layers}
    assert not names & {*gone, *silent}
    assert ("narrow" in names) == (worth is None or gone != ["sum_1", "sum_2", "sum_3"])
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    # Nothing that is left knows of what is gone.
    assert all(len(layer._outbound_nodes) <= 2 for layer in small.layers)


@pytest.mark.parametrize("net", ["yolo-fastest-1.1/yolo-fastest-1.1", "yoloface/yoloface-500k"])
def test_real_networks(net: str, shared: Path) -> None:
    source = load_source(shared / "zoo" / f"{net}.cfg")
    model = fold_norms(source.model)
    gone = find_blocks(model)[::2]
    assert len(gone) > 2
    images = np.random.default_rng(0).random((1, *model.inputs[0].shape[1:]), np.float32)
    ends = []
    for each in gone:
        end = model.get_layer(each.branch)
        ends.append((end.input._keras_history.operation if isinstance(end, layers.Dropout) else end).name)
    close(shortened(model, layout(model, gone, always)), zeroed(model, *ends), images)


def test_what_was_worth_it_is_merged() -> None:
    model, asked = make(residual), list[tuple[str, str]]()

    def worth(front: str, behind: str) -> bool:
        asked.append((front, behind))
        return front == "neck"

    what = layout(model, find_blocks(model), worth)
    # The stem ends in an activation, the head reads one.
    assert asked == [("narrow", "wide"), ("neck", "last")]
    assert what.merged == {"last": "neck"}
    assert shortened(model, what).get_layer("last").kernel.shape == (3, 3, 16, 16)


@pytest.mark.parametrize(
    "behind",
    [
        lambda x: layers.Conv2D(4, 3, padding="same", name="head")(x),
        lambda x: layers.Conv2D(4, 1, strides=2, name="head")(x),
        lambda x: layers.Conv2D(4, 1, groups=2, name="head")(x),
        lambda x: layers.Conv2D(4, 1, name="head")(layers.MaxPooling2D()(x)),
    ],
)
def test_other_convolutions_stay_two(behind: Callable[[Any], Any]) -> None:
    model = make(lambda image: behind(conv(relu(conv(image, 8, name="stem")), 8, 3, name="front")))
    assert layout(model, [], always).merged == {}


def test_read_twice_or_an_output_stays() -> None:
    def build(image: Any) -> Any:
        front = conv(image, 8, name="front")
        return [front, conv(front, 2, 1, name="one"), conv(conv(front, 4, 1, name="two"), 2, 1, name="three")]

    assert layout(make(build), [], always).merged == {"three": "two"}


@pytest.mark.parametrize(
    ("gone", "expected"),
    [
        (["sum_1"], {"narrow": "sum_1"}),
        (["sum_2"], {"sum_1": "sum_2"}),
        (["sum_1", "sum_2"], {"narrow": "sum_2"}),
        (["sum_2", "sum_3"], {"sum_1": "sum_2", "neck": "sum_3"}),
    ],
)
def test_who_stands_for_a_sum(gone: list[str], expected: dict[str, str]) -> None:
    model = make(residual)
    assert stand_ins(model, named(model, *gone)) == expected


def test_what_is_needed_for_itself_stands_for_nothing() -> None:
    def build(image: Any) -> Any:
        x = conv(image, 8, name="stem")
        total = layers.Add(name="sum")([x, conv(relu(conv(x, 8, 1, name="a")), 8, 1, name="b")])
        return conv(layers.Concatenate()([x, total]), 2, 1, name="head")

    model = make(build)
    assert stand_ins(model, find_blocks(model)) == {}


def test_a_linear_branch_is_fitted_into_what_stands_for_it() -> None:
    """What a branch without an activation adds, the convolution in front of it can do alone."""

    def build(image: Any) -> Any:
        x = conv(relu(conv(image, 8, name="stem")), 8, 1, name="front")
        x = layers.Add(name="sum")([x, conv(x, 8, 1, name="branch")])
        return conv(relu(x), 3, 1, name="head")

    whole = make(build)
    gone = find_blocks(whole)
    images = np.random.default_rng(0).random((32, 16, 16, 3), np.float32)

    def off(stands: dict[str, str]) -> float:
        small = shortened(whole, layout(whole, gone))
        kept = {layer.name: np.arange(layer.output.shape[-1]) for layer in whole.layers}
        reconstruct(small, whole, kept, images, stands=stands)
        wanted = run(whole, images)[0]
        return float(np.abs(run(small, images)[0] - wanted).max() / np.ptp(wanted))

    # The fit is held near the weights there were.
    assert off(stand_ins(whole, gone)) < 0.05 < off({})


class Trainer:
    def __init__(self) -> None:
        self.stands: list[dict[str, str]] = []

    def tune(self, model: keras.Model, channels: Any, steps: int, stands: Any) -> keras.Model:
        for layer in model.layers:
            assert len(channels[layer.name]) == layer.output.shape[-1]
        self.stands.append(dict(stands))
        return model


class Clock(Scales):
    """A convolution takes a millisecond, products nothing."""

    where = "a clock"

    def __init__(self, whole: keras.Model) -> None:
        self.whole, self.asked = whole, 0

    def size(self, model: keras.Model) -> int:
        return int(model.count_params())

    @property
    def whole_size(self) -> int:
        return self.size(self.whole)

    def by_layer(self) -> dict[str, float]:
        return {layer.name: 1.0 for layer in self.whole.layers if "kernel" in str(layer.weights)}

    def time(self, model: keras.Model) -> tuple[float, float]:
        self.asked += 1
        ms = [sum("kernel" in str(layer.weights) for layer in each.layers) for each in (model, self.whole)]
        return float(ms[0]), float(ms[1])

    def quicker(self, one: keras.Model, other: keras.Model) -> bool:
        return self.time(one)[0] < self.time(other)[0]


def prepared(target: Target, folder: Path, rounds: int = 2, **changes: Any) -> Job:
    whole = make(residual)
    plan = PrunePlan(target=target, remove="blocks", rounds=rounds, train_steps=1, final_steps=1)
    given: dict[str, Any] = {"samples": pictures(4), "scales": None} | changes
    store = Store(folder / "rounds", repr(plan), whole)
    return Job(whole, plan, Trainer(), lambda _: {}, given["samples"], None, given["scales"], store, lambda _: None)


def check(outcome: Outcome, job: Job) -> None:
    assert counted(outcome.model) == outcome.parts.work.macs(outcome.keep) == outcome.points[-1].macs
    assert outcome.points[0].macs == counted(job.whole)
    assert outcome.points[0].removed == 0
    made = [
        sum(layer.filters for layer in each.layers if hasattr(layer, "filters")) for each in (outcome.model, job.whole)
    ]
    assert outcome.points[-1].removed == pytest.approx(1 - made[0] / made[1])


@pytest.mark.parametrize("share", [0.9, 0.7])
def test_multiply_accumulates(share: float, tmp_path: Path) -> None:
    whole = counted(make(residual))
    job = prepared(Target("macs", share * whole), tmp_path)
    outcome = prune(job)
    check(outcome, job)
    assert outcome.points[-1].macs <= share * whole
    assert 0 < outcome.keep.sum() < 3 or share == 0.7
    # Two become one only where that saves products here.
    assert {"narrow", "neck"} & {layer.name for layer in outcome.model.layers}


def test_time(tmp_path: Path) -> None:
    """Blocks leave whole, and convolutions in a row become one because the clock says so."""
    whole = make(residual)
    clock = Clock(whole)
    job = prepared(Target("speedup", 15 / 4), tmp_path, rounds=3, scales=clock)
    outcome = prune(job)
    check(outcome, job)
    assert outcome.points[-1].ms == 4.0
    assert not {"narrow", "neck"} & {layer.name for layer in outcome.model.layers}
    again = prune(job)
    assert np.array_equal(again.keep, outcome.keep)


class Contrary(Clock):
    """One convolution for two takes longer here."""

    def time(self, model: keras.Model) -> tuple[float, float]:
        ms, whole = super().time(model)
        names = {layer.name for layer in model.layers}
        return ms + 3.0 * ("neck" not in names), whole


def test_a_clock_that_errs_once_is_asked_again(tiny_cfg: Path) -> None:
    class Erring:
        name, asked = "a clock", 0

        def time(self, files: Sequence[bytes]) -> list[Timing]:
            self.asked += 1
            return [Timing(1.0, 0.0), Timing(1.0, 30.0 if self.asked == 1 else -5.0)]

        def by_op(self, file: bytes) -> dict[str, float]:
            return {}

    source = load_source(tiny_cfg)
    scales = Scales(source, np.zeros((2, *source.model.inputs[0].shape[1:]), np.float32), Erring())
    assert scales.quicker(source.model, fold_norms(source.model))


def test_the_clock_says_no(tmp_path: Path) -> None:
    job = prepared(Target("speedup", 15 / 5), tmp_path, rounds=1, scales=Contrary(make(residual)))
    outcome = prune(job)
    check(outcome, job)
    names = {layer.name for layer in outcome.model.layers}
    assert "neck" in names
    # Fewer products need no clock.
    assert "narrow" not in names


def test_blocks_that_do_most_stay(tmp_path: Path) -> None:
    """A block whose branch gives next to nothing leaves before others."""
    job = prepared(Target("macs", 0.95 * counted(make(residual))), tmp_path, rounds=1)
    for name in ("out_1", "in_1"):
        layer = job.whole.get_layer(name)
        layer.set_weights([1e-3 * each for each in layer.get_weights()])
    outcome = prune(job)
    assert outcome.keep.tolist() == [False, True, True]
    assert outcome.parts.table(outcome.keep)[2:4] == [("out_1", 12, 0), ("in_1", 8, 0)]


def test_what_is_not_needed_comes_back() -> None:
    """A small block looks cheapest, but the large one alone is enough."""
    parts = Blocks(make(residual), None)
    saved = np.array([5.0, 20.0, 40.0])

    class Prices:
        def macs(self, keep: Any) -> float:
            return float(100 - saved[~keep].sum())

        def prices(self, keep: Any) -> Any:
            return np.where(keep, saved, 0.0)

    plan = PrunePlan(target=Target("macs", 1.0), remove="blocks")
    scores = np.array([1.0, 5.0, 20.0])

    def left(level: float, scores: Any = scores) -> list[bool]:
        costs = Prices()
        return list(parts.choose(scores, lambda keep: costs.macs(keep) <= level, costs, plan))

    assert left(97) == [False, True, True]
    # Both small ones leave first and then the large one, which does it alone.
    assert left(70) == [True, True, False]
    assert left(55) == [False, True, False]
    assert left(40) == [True, False, False]
    # What was gone before stays gone.
    assert left(60, np.array([1.0, -1.0, 20.0])) == [True, False, False]
    assert left(20) == [False, False, False]


def test_layers_behind_the_last_removal() -> None:
    whole = make(residual)

    def behind(*gone: str) -> list[str]:
        blocks = named(whole, *gone)
        small = shortened(whole, layout(whole, blocks, always))
        return [layer.name for layer in unchanged(small, whole, stand_ins(whole, blocks)) if layer.weights]

    assert behind("sum_3") == ["head"]
    tail = ["neck", "out_3", "depthwise_3", "in_3", "last", "head"]
    assert behind("sum_2") == ["wide", *tail]
    assert behind("sum_1", "sum_2") == tail
    assert behind() == [layer.name for layer in whole.layers if layer.weights]


def test_out_of_reach(tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match=r"is the least .* all 3 residual blocks are gone then"):
        prune(prepared(Target("macs", 1000), tmp_path))


@pytest.mark.parametrize(
    ("target", "changes", "expected"),
    [
        (Target("ratio", 0.5), {}, "blocks are no share of the channels"),
        (Target("macs", 0.9 * counted(make(residual))), {"samples": None}, "blocks without pictures"),
    ],
)
def test_refused(target: Target, changes: dict[str, Any], expected: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=expected):
        prune(prepared(target, tmp_path, **changes))


def test_nothing_that_could_leave() -> None:
    with pytest.raises(InputError, match="has no residual block"):
        Blocks(make(lambda image: conv(image, 4, name="head")), None)
