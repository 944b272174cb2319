"""The answer: what every op of a model costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runtime.profile.facts import EventFact, GemmFact, Measurement, NodeFact
from runtime.profile.matching import folded_into, match, partitions
from runtime.profile.work import Kind, Work, work

# All medians together may be so much longer than all least times, before they are put down to other programs.
_DISTURBED = 1.25


@dataclass(frozen=True)
class OpCost:
    """One op of the file.

    Attributes:
        index, name: Position in the graph, and TensorFlow Lite's name such as ``CONV_2D``.
        outputs: Names of the tensors it writes.
        delegated, reason: Whether XNNPACK runs it, and if not, why and what to change.
        ms: Milliseconds of one run: ``median_ms``, or ``min_ms`` where the profile is disturbed. 0.0 for an op that
            XNNPACK folded away; ``None`` where it is not known.
        median_ms: The middle of all runs.
        min_ms: The least of all runs.
        kernels: XNNPACK's ops that stand for it; empty for a built-in kernel and for a folded op.
        folded: Whether XNNPACK runs it as part of another op or leaves it out.
        folded_into: Position of that op, where it is known.
        work: MACs, bytes, shape.
        gmacs: 1e9 multiply-accumulates a second; ``None`` without MACs or time.
        peak_share: ``gmacs`` as a share (0..1, may be above) of the int8 peak.
    """

    index: int
    name: str
    outputs: tuple[str, ...]
    delegated: bool
    reason: str
    ms: float | None
    median_ms: float | None
    min_ms: float | None
    kernels: tuple[str, ...]
    folded: bool
    folded_into: int | None
    work: Work
    gmacs: float | None
    peak_share: float | None


@dataclass(frozen=True)
class Family:
    """All timed ops of one kind: how many, milliseconds, MACs and bytes together."""

    kind: Kind
    ops: int
    ms: float
    macs: int
    bytes: int

    @property
    def ns_per_kmac(self) -> float | None:
        """Nanoseconds per thousand multiply-accumulates; ``None`` where there are none."""
        return 1e9 * self.ms / self.macs if self.macs else None

    @property
    def ns_per_kbyte(self) -> float | None:
        """Nanoseconds per thousand bytes; ``None`` where nothing moves."""
        return 1e9 * self.ms / self.bytes if self.bytes else None


@dataclass(frozen=True)
class Profile:
    """Where the time of one run goes.

    Attributes:
        model, provider, machine, threads, runs, throttled: What was measured, and under what.
        ops: Every op of the file, in its order.
        unmapped: XNNPACK's ops that no op of the file could be told for.
        invoke_ms: ``min``, ``median``, ``p95`` and ``p99`` of whole runs without the profiler, milliseconds.
        profiled_ms: Median of whole runs under the profiler.
        partitions: In how many parts XNNPACK runs what it took.
        peak: The int8 matrix product the shares refer to; ``None`` when nothing could be timed.
        gemms: The same for each number format the model's own convolutions work with.
        copy_gbs: Memory copied by one core, 1e9 bytes a second, read and written both counted.
        disturbed: Whether other programs had the processor in most runs: the ops' medians then hold their time too, so
            all that is computed goes by the least.
        finding: Why there are no times per op; empty when there are.
    """

    model: str
    provider: str
    machine: str
    threads: int
    runs: int
    throttled: bool | None
    ops: tuple[OpCost, ...]
    unmapped: tuple[EventFact, ...]
    invoke_ms: dict[str, float]
    profiled_ms: float
    partitions: int
    peak: GemmFact | None
    gemms: tuple[GemmFact, ...]
    copy_gbs: float
    disturbed: bool
    finding: str

    @property
    def ms(self) -> dict[int, float]:
        """Milliseconds by position of the op; ops whose time is not known are left out."""
        return {op.index: op.ms for op in self.ops if op.ms is not None}

    @property
    def ms_by_output(self) -> dict[str, float]:
        """Milliseconds by the name of the tensor an op writes (its first); as :attr:`ms`."""
        return {op.outputs[0]: op.ms for op in self.ops if op.ms is not None and op.outputs}

    @property
    def ops_ms(self) -> float:
        """All timed ops together, those that no op of the file could be told for among them."""
        left = sum(event.min_ms if self.disturbed else event.median_ms for event in self.unmapped)
        return sum(self.ms.values()) + left

    @property
    def families(self) -> tuple[Family, ...]:
        """Timed ops by kind, the dearest first."""
        kinds: dict[Kind, list[OpCost]] = {}
        for op in self.ops:
            if op.ms is not None and not op.folded:
                kinds.setdefault(op.work.kind, []).append(op)
        families = [
            Family(
                kind,
                len(ops),
                sum(op.ms or 0.0 for op in ops),
                sum(op.work.macs for op in ops),
                sum(op.work.bytes for op in ops),
            )
            for kind, ops in kinds.items()
        ]
        return tuple(sorted(families, key=lambda family: -family.ms))


def build(model: str, threads: int, runs: int, measured: Measurement) -> Profile:
    """Puts together what a child process measured."""
    peak = next((fact for fact in measured.gemms if fact.dtype == "int8"), None)
    times, folded, unmapped = assign(measured.nodes, measured.events)
    medians = sum(event.median_ms for event in measured.events)
    disturbed = medians > _DISTURBED * sum(event.min_ms for event in measured.events)
    nodes = {node.index: node for node in measured.nodes}
    ops = []
    for node in measured.nodes:
        events = times.get(node.index, [])
        gone = node.index in folded
        nothing = 0.0 if gone else None
        median = sum(event.median_ms for event in events) if events else nothing
        least = sum(event.min_ms for event in events) if events else nothing
        ms = least if disturbed else median
        done = work(node, measured.tensors)
        gmacs = done.macs / ms / 1e6 if ms and done.macs else None
        ops.append(
            OpCost(
                node.index,
                node.name,
                tuple(measured.tensors[str(tensor)].name for tensor in node.outputs),
                node.delegated,
                node.reason,
                ms,
                median,
                least,
                tuple(event.name for event in events if event.xnnpack),
                gone,
                folded_into(node, nodes) if gone else None,
                done,
                gmacs,
                gmacs / peak.gmacs if gmacs and peak else None,
            )
        )
    return Profile(
        model=model,
        provider=measured.provider,
        machine=measured.machine,
        threads=threads,
        runs=runs,
        throttled=measured.throttled,
        ops=tuple(ops),
        unmapped=unmapped,
        invoke_ms=measured.invoke_ms,
        profiled_ms=measured.profiled_ms,
        partitions=measured.partitions,
        peak=peak,
        gemms=measured.gemms,
        copy_gbs=measured.copy_gbs,
        disturbed=disturbed,
        finding=measured.finding,
    )


def assign(
    nodes: Sequence[NodeFact], events: Sequence[EventFact]
) -> tuple[dict[int, list[EventFact]], set[int], tuple[EventFact, ...]]:
    """Says which timed op belongs to which op of the file.

    Returns:
        Timed ops by position of the file's op, positions of the ops XNNPACK folded away, and what is left over.
    """
    times: dict[int, list[EventFact]] = {}
    for event in events:
        if not event.xnnpack:
            times.setdefault(event.index, []).append(event)
    groups, parts = _groups(events), partitions(nodes)
    if len(groups) != len(parts):
        return times, set(), tuple(event for group in groups for event in group)
    folded: set[int] = set()
    unmapped: list[EventFact] = []
    for group, part in zip(groups, parts, strict=True):
        matching = match([event.name for event in group], [node.name for node in part])
        folded |= {part[position].index for position in matching.folded}
        for event, position in zip(group, matching.partner, strict=True):
            if position is None:
                unmapped.append(event)
            else:
                times.setdefault(part[position].index, []).append(event)
    return times, folded, tuple(unmapped)


def _groups(events: Sequence[EventFact]) -> list[list[EventFact]]:
    """XNNPACK's ops by partition: they are counted from 0 in each."""
    groups: list[list[EventFact]] = []
    for event in events:
        if event.xnnpack:
            if event.index == 0:
                groups.append([])
            if groups:
                groups[-1].append(event)
    return groups
