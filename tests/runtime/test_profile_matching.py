"""XNNPACK's ops laid beside the file's, and the file's ops dealt out to partitions."""

from __future__ import annotations

import pytest

from runtime.profile.facts import EventFact, NodeFact
from runtime.profile.matching import match, partitions, stands_for
from runtime.profile.report import assign

CONV, DW, FC = "Convolution (NHWC, QC8) IGEMM", "Convolution (NHWC, QC8) DWConv", "Fully Connected (NC, QS8, QC8W) GEMM"
ADD, COPY, RESHAPE, CLAMP = "Add (ND)", "Copy (NC, X8)", "Static Reshape (NC)", "Clamp (NC)"

CASES: dict[str, tuple[list[str], list[str], list[int | None], set[int]]] = {
    "one to one": ([CONV, DW, FC, ADD], ["CONV_2D", "DEPTHWISE_CONV_2D", "CONV_2D", "ADD"], [0, 1, 2, 3], set()),
    "pad folded": ([CONV, DW], ["PAD", "CONV_2D", "PAD", "DEPTHWISE_CONV_2D"], [1, 3], {0, 2}),
    "one of two pads folded": (
        [CONV, "Constant Pad (ND, X8)", CONV],
        ["PAD", "CONV_2D", "PAD", "CONV_2D"],
        [1, 2, 3],
        {0},
    ),
    "relu folded": ([CONV, ADD], ["CONV_2D", "RELU", "ADD"], [0, 2], {1}),
    "activation as an op of its own": ([CONV, ADD, CLAMP, CONV], ["CONV_2D", "ADD", "CONV_2D"], [0, 1, 1, 2], set()),
    "a square for a product": ([CONV, "Square (NC)"], ["CONV_2D", "MUL"], [0, 1], set()),
    "split in parts": ([CONV, COPY, COPY, ADD], ["CONV_2D", "SPLIT", "ADD"], [0, 1, 1, 2], set()),
    "which of two reshapes": ([CONV, RESHAPE, CONV], ["CONV_2D", "RESHAPE", "RESHAPE", "CONV_2D"], [0, None, 3], set()),
    "an op unheard of": ([CONV, "Unheard Of (NC)", CONV], ["CONV_2D", "CONV_2D"], [0, None, 1], set()),
    "which of two convolutions": ([CONV], ["CONV_2D", "CONV_2D"], [None], set()),
    "nothing of XNNPACK's": ([], ["CONV_2D", "PAD"], [], {1}),
    "nothing of the file's": ([CONV], [], [None], set()),
}


@pytest.mark.parametrize("case", CASES)
def test_ops_are_told_apart_or_left_open(case: str) -> None:
    kernels, ops, partner, folded = CASES[case]
    matching = match(kernels, ops)
    assert list(matching.partner) == partner
    assert matching.folded == folded


def test_a_kind_stands_for_its_own() -> None:
    assert stands_for(FC, "CONV_2D")
    assert not stands_for(ADD, "MUL")
    assert not stands_for("Unheard Of (NC)", "CONV_2D")


def node(
    index: int, inputs: list[int], outputs: list[int], *, delegated: bool = True, name: str = "CONV_2D"
) -> NodeFact:
    return NodeFact(index, name, tuple(inputs), tuple(outputs), delegated, "")


def test_partitions_run_what_is_ready_in_turn() -> None:
    """The branch beside the built-in op waits for nothing, so it belongs to the first part though it comes later."""
    nodes = [
        node(0, [0], [1]),
        node(1, [1], [2], delegated=False),
        node(2, [2], [3]),
        node(3, [1], [4]),
        node(4, [3, 4], [5]),
    ]
    assert [[n.index for n in part] for part in partitions(nodes)] == [[0, 3], [2, 4]]


def test_a_damaged_order_ends() -> None:
    """Two ops that wait for each other belong to no part."""
    assert partitions([node(0, [2], [1]), node(1, [1], [2])]) == []


def event(name: str, index: int, ms: float, *, xnnpack: bool = True) -> EventFact:
    return EventFact(xnnpack, name, index, ms, ms)


def test_times_go_to_their_ops() -> None:
    nodes = [node(0, [0], [1]), node(1, [1], [2], delegated=False, name="TILE"), node(2, [2], [3])]
    events = [event(CONV, 0, 1.0), event("TILE", 1, 2.0, xnnpack=False), event(CONV, 0, 4.0)]
    times, folded, unmapped = assign(nodes, events)
    assert {index: [one.median_ms for one in own] for index, own in times.items()} == {0: [1.0], 1: [2.0], 2: [4.0]}
    assert (folded, unmapped) == (set(), ())


def test_another_number_of_parts_maps_nothing() -> None:
    """XNNPACK's ops then cannot be told, the built-in ones still can."""
    nodes = [node(0, [0], [1]), node(1, [1], [2], delegated=False, name="TILE")]
    events = [event(CONV, 0, 1.0), event("TILE", 1, 2.0, xnnpack=False), event(CONV, 0, 4.0)]
    times, _, unmapped = assign(nodes, events)
    assert list(times) == [1]
    assert [one.median_ms for one in unmapped] == [1.0, 4.0]
