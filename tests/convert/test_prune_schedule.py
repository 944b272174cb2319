"""Rounds towards a target, with a made-up trainer, a made-up accuracy and a clock that is a formula."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from convert.prune.choose import remove_until
from convert.prune.graph import channel_graph
from convert.prune.lineage import Lineage
from convert.prune.measure import bisect
from convert.prune.plan import PrunePlan, Scope, Target
from convert.prune.run import Workplace, prune_model
from convert.prune.schedule import Job, Outcome, prune
from convert.prune.state import Store
from convert.prune.surgery import remove
from runtime.errors import BudgetError, InputError
from tests.convert.prune_family import counted, mixed
from tests.convert.small_nets import make, pictures, run

PLAN = PrunePlan(target=Target("macs", 0), rank="l1", rounds=3, train_steps=5, final_steps=9)


class KilledError(Exception):
    pass


class Trainer:
    """Marks each network it gets; may be killed instead."""

    def __init__(self, killed_at: int | None = None) -> None:
        self.killed_at, self.steps = killed_at, list[int]()

    def tune(
        self, model: keras.Model, channels: Mapping[str, Any], steps: int, stands: Mapping[str, str]
    ) -> keras.Model:
        if len(self.steps) + 1 == self.killed_at:
            raise KilledError
        for layer in model.layers:
            assert len(channels[layer.name]) == layer.output.shape[-1]
        self.steps.append(steps)
        return model


class Clock:
    """``ms = a + b * macs``, and a byte for each weight."""

    where = "a clock"

    def __init__(self, whole: keras.Model, floor: float = 1.0) -> None:
        self.floor, self.whole, self.asked = floor, whole, 0

    def size(self, model: keras.Model) -> int:
        return int(model.count_params())

    @property
    def whole_size(self) -> int:
        return self.size(self.whole)

    def by_layer(self) -> dict[str, float]:
        return {}

    def ms(self, model: keras.Model) -> float:
        return self.floor + counted(model) * 1e-5

    def time(self, model: keras.Model) -> tuple[float, float]:
        self.asked += 1
        return self.ms(model), self.ms(self.whole)


@pytest.fixture(scope="module")
def whole() -> keras.Model:
    return make(mixed)


Start = Callable[..., Job]


@pytest.fixture
def start(whole: keras.Model, tmp_path: Path) -> Start:
    """A job with a target."""

    def job(target: Target, **changes: Any) -> Job:
        fields = {field.name for field in dataclasses.fields(Job)}
        plan = dataclasses.replace(PLAN, target=target, **{k: v for k, v in changes.items() if k not in fields})
        given: dict[str, Any] = {
            "tuner": Trainer(),
            "measure": lambda model: {},
            "samples": None,
            "relevance": None,
            "scales": None,
            "store": Store(tmp_path / "rounds", repr(plan), whole),
            "say": lambda text: None,
        }
        return Job(whole, plan, **(given | {k: v for k, v in changes.items() if k in fields}))

    return job


def check(outcome: Outcome, whole: keras.Model) -> None:
    """The network is what is said of it."""
    last = outcome.points[-1]
    assert counted(outcome.model) == outcome.parts.work.macs(outcome.keep) == last.macs
    assert outcome.points[0].macs == counted(whole)
    assert [tuple(each.shape) for each in outcome.model.outputs] == [tuple(each.shape) for each in whole.outputs]
    assert np.isfinite(run(outcome.model, pictures(1))[0]).all()


@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize(("share", "rounds"), [(0.7, 1), (0.5, 3), (0.35, 5)])
def test_macs(start: Start, whole: keras.Model, share: float, rounds: int, scope: Scope) -> None:
    job = start(Target("macs", share * counted(whole)), rounds=rounds, scope=scope, multiple=1)
    outcome = prune(job)
    check(outcome, whole)
    assert outcome.stopped == ""
    assert [point.round for point in outcome.points] == list(range(rounds + 1))
    # Never above; below by no more than one step, which is the dearest channel.
    for number, point in enumerate(outcome.points):
        level = counted(whole) * share ** (number / rounds)
        assert 0.8 * level < point.macs <= level * 1.001
    assert isinstance(job.tuner, Trainer)
    assert job.tuner.steps == [5] * (rounds - 1) + [9]


def test_nothing_comes_back(start: Start, whole: keras.Model) -> None:
    """What a round removed stays removed: the stored rounds are subsets of each other."""
    job = start(Target("macs", 0.4 * counted(whole)), rounds=3)
    outcome = prune(job)
    states = [job.store.load(number) for number in (1, 2, 3)]
    keeps = [state.keep for state in states if state is not None]
    assert len(keeps) == 3
    assert all((later <= earlier).all() for earlier, later in pairwise(keeps))
    assert np.array_equal(keeps[-1], outcome.keep)


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_ratio(start: Start, whole: keras.Model, scope: Scope) -> None:
    outcome = prune(start(Target("ratio", 0.5), scope=scope, multiple=1))
    check(outcome, whole)
    assert isinstance(outcome.parts, Lineage)
    free = outcome.parts.graph.free()
    assert outcome.keep[free].mean() == pytest.approx(0.5, abs=0.05)


def test_kept_weights_are_the_whole_ones(start: Start, whole: keras.Model) -> None:
    """A trainer that does nothing leaves the weights as surgery cut them, through all rounds and files."""
    outcome = prune(start(Target("ratio", 0.4), multiple=1))
    kept = outcome.parts.channels(outcome.keep)
    kernel, small = (net.get_layer("right").get_weights()[0] for net in (whole, outcome.model))
    np.testing.assert_array_equal(small, kernel[:, :, kept["sum"]][..., kept["right"]])


@pytest.mark.parametrize("share", [0.9, 0.6, 0.4])
def test_latency(start: Start, whole: keras.Model, share: float) -> None:
    clock = Clock(whole)
    wanted = share * clock.ms(whole)
    outcome = prune(start(Target("latency", wanted), scales=clock, multiple=2))
    check(outcome, whole)
    last = outcome.points[-1]
    assert last.ms == clock.ms(outcome.model) == pytest.approx(wanted, rel=0.1)
    assert last.whole_ms == clock.ms(whole)
    assert last.bytes == clock.size(outcome.model)


@pytest.mark.parametrize("speedup", [1.1, 1.6, 2.4])
def test_speedup(start: Start, whole: keras.Model, speedup: float) -> None:
    """Beside the whole network, however fast the machine is at that moment."""
    clock = Clock(whole, 0.2)

    class Moody(Clock):
        def time(self, model: keras.Model) -> tuple[float, float]:
            ms, whole_ms = super().time(model)
            load = 1 + self.asked % 3
            return load * ms, load * whole_ms

    outcome = prune(start(Target("speedup", speedup), scales=Moody(whole, 0.2), multiple=2))
    check(outcome, whole)
    assert clock.ms(whole) / clock.ms(outcome.model) == pytest.approx(speedup, rel=0.1)


def test_speedup_out_of_reach_names_the_closest(start: Start, whole: keras.Model) -> None:
    clock = Clock(whole, floor=5.0)
    with pytest.raises(BudgetError, match="the closest to 3 times as fast that was found is") as caught:
        prune(start(Target("speedup", 3.0), scales=clock))
    closest = float(caught.value.action.split("--speedup ")[1])
    graph = channel_graph(whole)
    least = remove(graph, remove_until(graph, np.ones(graph.classes), lambda keep: False, None))
    assert closest == pytest.approx(clock.ms(whole) / clock.ms(least), rel=0.02)


@pytest.mark.parametrize("speedup", [1.0, 0.5, float("nan")])
def test_speedup_that_is_none(start: Start, whole: keras.Model, speedup: float) -> None:
    with pytest.raises(InputError, match="expected a number above 1"):
        prune(start(Target("speedup", speedup), scales=Clock(whole)))


def test_latency_that_only_the_smallest_shapes_have(start: Start, whole: keras.Model) -> None:
    """Looking for it, no shape is tried that cannot be built."""
    clock = Clock(whole, 0.0)
    least = prune(start(Target("ratio", 0.6), rounds=1, multiple=8)).points[-1].macs
    outcome = prune(start(Target("latency", 1.05e-5 * least), scales=clock, rounds=1, multiple=8))
    assert outcome.points[-1].ms == pytest.approx(1.05e-5 * least, rel=0.1)


def test_latency_out_of_reach_names_the_closest(start: Start, whole: keras.Model) -> None:
    clock = Clock(whole, floor=5.0)
    graph = channel_graph(whole)
    least = remove(graph, remove_until(graph, np.ones(graph.classes), lambda keep: False, None))
    trainer = Trainer()
    with pytest.raises(BudgetError, match=r"the closest to 3 ms that was found is .* ms \(a clock\)") as caught:
        prune(start(Target("latency", 3.0), scales=clock, tuner=trainer))
    assert float(caught.value.action.split("--latency ")[1]) == pytest.approx(clock.ms(least), rel=0.02)
    assert trainer.steps == []


def test_latency_moved_away_while_training(start: Start, whole: keras.Model) -> None:
    """A board that got slower: the last round is corrected, or refused with what it measured."""
    clock = Clock(whole)

    class Slower(Trainer):
        def tune(
            self, model: keras.Model, channels: Mapping[str, Any], steps: int, stands: Mapping[str, str]
        ) -> keras.Model:
            clock.floor = 1.3
            return super().tune(model, channels, steps, stands)

    wanted = 0.7 * clock.ms(whole)
    outcome = prune(start(Target("latency", wanted), scales=clock, tuner=Slower(), multiple=2))
    assert outcome.points[-1].ms == pytest.approx(wanted, rel=0.1)
    clock.floor = 1.0

    class Stuck(Trainer):
        def tune(
            self, model: keras.Model, channels: Mapping[str, Any], steps: int, stands: Mapping[str, str]
        ) -> keras.Model:
            clock.floor = 2 * wanted
            return super().tune(model, channels, steps, stands)

    with pytest.raises(BudgetError, match="the closest to"):
        prune(start(Target("latency", wanted), scales=clock, tuner=Stuck(), multiple=2, seed=2))


@pytest.mark.parametrize("doubts", [1, 3])
def test_latency_that_no_longer_holds_after_training(start: Start, whole: keras.Model, doubts: int) -> None:
    """A disturbed measurement is taken again; one that stays is an error and no result."""
    clock, left = Clock(whole), [doubts]
    wanted = 0.7 * clock.ms(whole)

    class Disturbed(Clock):
        def time(self, model: keras.Model) -> tuple[float, float]:
            ms, whole_ms = super().time(model)
            if trainer.steps[-1:] == [9] and left[0]:
                left[0] -= 1
                return 1.2 * ms, whole_ms
            return ms, whole_ms

    trainer = Trainer()
    job = start(Target("latency", wanted), scales=Disturbed(whole), tuner=trainer, multiple=2, seed=doubts)
    if doubts == 1:
        assert prune(job).points[-1].ms == pytest.approx(wanted, rel=0.1)
    else:
        with pytest.raises(BudgetError, match="the closest to"):
            prune(job)


@pytest.mark.parametrize("share", [0.8, 0.5, 0.3])
def test_size(start: Start, whole: keras.Model, share: float) -> None:
    """The file is never larger than asked for, and little smaller."""
    clock = Clock(whole)
    outcome = prune(start(Target("size", share * clock.whole_size), scales=clock, multiple=1))
    check(outcome, whole)
    assert 0.9 * share * clock.whole_size <= clock.size(outcome.model) <= share * clock.whole_size


def test_size_out_of_reach_names_the_closest(start: Start, whole: keras.Model) -> None:
    trainer = Trainer()
    with pytest.raises(BudgetError, match=r"the closest to 50 bytes that was found is \d+;") as caught:
        prune(start(Target("size", 50), scales=Clock(whole), tuner=trainer))
    assert trainer.steps == []
    within = float(caught.value.action.split("--size ")[1])
    outcome = prune(start(Target("size", within), scales=Clock(whole)))
    assert 0 < (outcome.points[-1].bytes or 0) <= within


@pytest.mark.parametrize("goal", ["macs", "size", "latency"])
@pytest.mark.parametrize("factor", [1.0, 1.5])
def test_target_that_is_met_already(start: Start, whole: keras.Model, goal: Any, factor: float) -> None:
    clock = Clock(whole)
    value = {"macs": counted(whole), "size": clock.whole_size, "latency": clock.ms(whole)}[goal] * factor
    with pytest.raises(InputError, match="the network has, and more than nothing"):
        prune(start(Target(goal, value), scales=clock))


def test_macs_out_of_reach_are_refused_before_any_training(start: Start) -> None:
    trainer = Trainer()
    with pytest.raises(BudgetError, match="is the least"):
        prune(start(Target("macs", 1000.0), tuner=trainer))
    assert trainer.steps == []


@pytest.mark.parametrize("goal", ["size", "latency"])
def test_no_clock(start: Start, goal: Any) -> None:
    with pytest.raises(InputError, match=f"--{goal} for a network without known input"):
        prune(start(Target(goal, 10)))


@pytest.mark.parametrize("ratio", [0.0, 1.0, float("nan")])
def test_bad_ratio(start: Start, ratio: float) -> None:
    with pytest.raises(InputError, match="expected a share"):
        prune(start(Target("ratio", ratio)))


def test_ratio_too_large_is_refused_before_any_training(start: Start) -> None:
    trainer = Trainer()
    with pytest.raises(InputError, match="would empty"):
        prune(start(Target("ratio", 0.97), tuner=trainer))
    assert trainer.steps == []


def test_ranking_needs_pictures(start: Start) -> None:
    with pytest.raises(InputError, match="ranking by taylor without pictures"):
        prune(start(Target("ratio", 0.5), rank="taylor"))
    outcome = prune(start(Target("ratio", 0.3), rank="taylor", samples=pictures(3), multiple=2))
    assert outcome.points[-1].removed > 0.2


def accuracy(*values: float) -> Callable[[keras.Model], dict[str, float]]:
    """AP50 of the whole network, then of each round."""
    left = list(values)
    return lambda model: {"map50": left.pop(0), "map50_95": 1.0, "agreement": 2.0}


def test_round_that_loses_too_much_is_taken_back(start: Start, whole: keras.Model) -> None:
    target = Target("macs", 0.4 * counted(whole))
    job = start(target, measure=accuracy(90, 89, 70), max_drop=2.0)
    outcome = prune(job)
    assert [point.map50 for point in outcome.points] == [90, 89, 70]
    assert "round 2 lost 20.0 points of AP50, more than 2: taken back" in outcome.stopped
    assert counted(outcome.model) == outcome.points[1].macs == outcome.parts.work.macs(outcome.keep)
    # Asked again, it does not go on from the bad round, and trains nothing.
    trainer = Trainer()
    again = prune(start(target, measure=accuracy(), max_drop=2.0, tuner=trainer))
    assert (trainer.steps, again.stopped, again.points) == ([], outcome.stopped, outcome.points)
    assert np.array_equal(again.keep, outcome.keep)


def test_first_round_loses_too_much(start: Start, whole: keras.Model) -> None:
    with pytest.raises(BudgetError, match=r"round 1 lost 20.0 points of AP50 at \d+% of the work; a budget of 2"):
        prune(start(Target("macs", 0.4 * counted(whole)), measure=accuracy(90, 70), max_drop=2.0))


def test_drop_within_the_budget(start: Start, whole: keras.Model) -> None:
    outcome = prune(start(Target("macs", 0.5 * counted(whole)), measure=accuracy(90, 89, 88.5, 88), max_drop=2.0))
    assert outcome.stopped == ""
    assert [point.map50 for point in outcome.points] == [90, 89, 88.5, 88]


def test_drop_of_exactly_the_budget(start: Start, whole: keras.Model) -> None:
    """As everywhere; in binary, 30.0 - 28.7 is a little more than 1.3."""
    job = start(Target("macs", 0.7 * counted(whole)), measure=accuracy(30.0, 28.7), max_drop=1.3, rounds=1)
    assert prune(job).stopped == ""


def test_what_finds_nothing_cannot_be_held_to_a_budget(start: Start, whole: keras.Model) -> None:
    """Classes of another order, or labels of none: no round could lose anything."""
    trainer, target = Trainer(), Target("macs", 0.7 * counted(whole))
    for measure in (accuracy(0.0), accuracy()):  # Asked again, the whole network is not measured again.
        with pytest.raises(InputError, match=r"the whole network has AP50 0 .*; a budget needs images"):
            prune(start(target, measure=measure, tuner=trainer, max_drop=1.0))
    assert trainer.steps == []


def test_killed_and_gone_on(start: Start, whole: keras.Model, tmp_path: Path) -> None:
    target = Target("macs", 0.4 * counted(whole))
    straight = prune(start(target, store=Store(tmp_path / "straight", "", whole)))
    with pytest.raises(KilledError):
        prune(start(target, tuner=Trainer(killed_at=2)))
    trainer = Trainer()
    outcome = prune(start(target, tuner=trainer))
    assert trainer.steps == [5, 9]
    assert outcome.points == straight.points
    assert np.array_equal(outcome.keep, straight.keep)
    assert all(map(np.array_equal, outcome.model.get_weights(), straight.model.get_weights()))
    # Finished, it is only read.
    last = Trainer()
    assert prune(start(target, tuner=last)).points == straight.points
    assert last.steps == []


def test_latency_is_not_looked_for_twice(start: Start, whole: keras.Model) -> None:
    clock = Clock(whole)
    target = Target("latency", 0.6 * clock.ms(whole))
    with pytest.raises(KilledError):
        prune(start(target, scales=clock, tuner=Trainer(killed_at=2), multiple=2))
    before, clock.asked = clock.asked, 0
    outcome = prune(start(target, scales=clock, multiple=2))
    assert outcome.points[-1].ms == pytest.approx(target.value, rel=0.1)
    assert len({point.level for point in outcome.points}) == 1
    assert clock.asked < before + 3


def test_the_whole_network_is_judged_once(start: Start, whole: keras.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shape that is looked for and the first round go by the same scores."""
    judged: list[keras.Model] = []
    judge = Lineage.judge

    def counting(self: Lineage, model: keras.Model, *others: Any) -> Any:
        judged.append(model)
        return judge(self, model, *others)

    monkeypatch.setattr(Lineage, "judge", counting)
    clock = Clock(whole)
    prune(start(Target("latency", 0.6 * clock.ms(whole)), scales=clock))
    assert [model is whole for model in judged] == [True, False, False]


def place(folder: Path, fresh: bool = False, told: list[str] | None = None) -> Workplace:
    return Workplace(folder, fresh, None, None, None, (told if told is not None else []).append)


def test_other_plans_and_networks_start_over(whole: keras.Model, tmp_path: Path) -> None:
    plan = dataclasses.replace(PLAN, target=Target("ratio", 0.4), rounds=1)
    folder = tmp_path / "rounds"

    def rounds(model: keras.Model, plan: PrunePlan, fresh: bool = False) -> int:
        told: list[str] = []
        prune_model(model, plan, place(folder, fresh, told))
        return sum("fitting and training" in text for text in told)

    assert rounds(whole, plan) == 1
    assert rounds(whole, plan) == 0
    assert rounds(whole, dataclasses.replace(plan, seed=2)) == 1
    assert rounds(whole, plan) == 1
    assert rounds(make(mixed, seed=4), plan) == 1
    assert rounds(whole, plan) == 1
    assert rounds(whole, plan, fresh=True) == 1


def spoil_json(folder: Path, **facts: Any) -> None:
    path = folder / "pruning.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | facts))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


DAMAGE: dict[str, Callable[[Path], object]] = {
    "json cut": lambda folder: cut(folder / "pruning.json"),
    "json binary": lambda folder: (folder / "pruning.json").write_bytes(bytes(range(256))),
    "points no list": lambda folder: spoil_json(folder, points=3),
    "points strange": lambda folder: spoil_json(folder, points=[{"round": "first"}]),
    "points missing": lambda folder: spoil_json(
        folder, points=json.loads((folder / "pruning.json").read_text())["points"][1:]
    ),
    "network cut": lambda folder: cut(folder / "round-02.keras"),
    "network gone": lambda folder: (folder / "round-02.keras").unlink(),
    "marks text": lambda folder: (folder / "round-02.npz").write_text("keep"),
    "marks of another name": lambda folder: np.savez(folder / "round-02.npz", kept=np.ones(3, np.bool_)),
    "marks of another network": lambda folder: np.savez(folder / "round-02.npz", keep=np.ones(3, np.bool_)),
}


@pytest.fixture(scope="module")
def finished(whole: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    prune_model(whole, dataclasses.replace(PLAN, target=Target("ratio", 0.4), rounds=2), place(folder))
    return folder


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_rounds(damage: str, whole: keras.Model, finished: Path, tmp_path: Path) -> None:
    for path in finished.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    DAMAGE[damage](tmp_path)
    plan = dataclasses.replace(PLAN, target=Target("ratio", 0.4), rounds=2)
    with pytest.raises(InputError, match="give --fresh to start over") as caught:
        prune_model(whole, plan, place(tmp_path))
    assert "\n" not in caught.value.line()
    _, outcome = prune_model(whole, plan, place(tmp_path, fresh=True))
    assert len(outcome.points) == 3


def test_bisect_comes_close() -> None:
    asked: list[float] = []

    def shape(share: float) -> float:
        asked.append(share)
        return 2 + 10 * share**2

    share, value = bisect(shape, 5.0, 0.1, 1.0, 12)
    assert value == pytest.approx(5.0, rel=0.02)
    assert share == pytest.approx(0.3**0.5, rel=0.05)
    assert all(0.1 <= each <= 1 for each in asked)
    share, value = bisect(shape, 1.0, 0.1, 1.0)
    assert share == pytest.approx(0.1, abs=0.01)
    assert value == pytest.approx(2.1, abs=0.1)


def test_graph_of_a_round_is_the_lineage_in_small(start: Start) -> None:
    outcome = prune(start(Target("ratio", 0.4), multiple=1))
    small = channel_graph(outcome.model)
    assert {name: len(ids) for name, ids in small.makes.items()} == {
        name: len(ids) for name, ids in outcome.parts.channels(outcome.keep).items()
    }
