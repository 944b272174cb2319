"""A profile as text."""

from __future__ import annotations

from collections.abc import Iterator

from runtime.profile.report import OpCost, Profile

_NAME_WIDTH, _TENSOR_WIDTH = 18, 36


def lines(profile: Profile) -> Iterator[str]:
    """The lines to print."""
    yield from _head(profile)
    yield ""
    yield from _ops(profile)
    yield ""
    yield from _families(profile)
    yield from _left_out(profile)


def _head(profile: Profile) -> Iterator[str]:
    plural = "s" if profile.threads > 1 else ""
    yield f"{profile.model}: {profile.provider} on {profile.machine}, {profile.threads} thread{plural}"
    whole = profile.invoke_ms
    yield (
        f"one run takes {whole['median']:.3f} ms (median of {profile.runs}; least {whole['min']:.3f}); "
        f"XNNPACK runs {sum(op.delegated for op in profile.ops)} of {len(profile.ops)} ops "
        f"in {profile.partitions} partition(s)"
    )
    if profile.finding:
        yield f"no times per op: {profile.finding}"
    else:
        yield f"under the profiler {profile.profiled_ms:.3f} ms; its ops together {profile.ops_ms:.3f} ms"
    if profile.disturbed:
        yield "other programs had the processor in most runs: all figures go by each op's least time, not its median"
    for fact in profile.gemms:
        role = "peak (100 %)" if fact is profile.peak else "for comparison"
        yield f"{fact.dtype} matrix product {fact.gmacs:.1f} GMAC/s at {fact.m}x{fact.n}x{fact.k}: {role}"
    yield f"memory, copied by one core: {profile.copy_gbs:.1f} GB/s"


def _ops(profile: Profile) -> Iterator[str]:
    yield (
        f"{'op':>4} {'name':{_NAME_WIDTH}} {'median':>9} {'least':>9} {'%':>5} {'MMAC':>9} {'kB':>8} "
        f"{'M x N x K':>16} {'MAC/B':>7} {'GMAC/s':>7} {'peak':>5}  {'tensor':{_TENSOR_WIDTH}}  run as"
    )
    total = profile.ops_ms
    for op in profile.ops:
        yield _op(op, total).rstrip()
    for event in profile.unmapped:
        yield f"   ? {'unmapped':{_NAME_WIDTH}} {event.median_ms:9.4f} {event.min_ms:9.4f}{'':102}{event.name}"


def _op(op: OpCost, total: float) -> str:
    share = f"{100 * op.ms / total:5.1f}" if op.ms is not None and total else ""
    intensity = f"{op.work.macs / op.work.bytes:7.1f}" if op.work.macs else ""
    return (
        f"{op.index:4} {_short(op.name, _NAME_WIDTH):{_NAME_WIDTH}} {_number(op.median_ms, 4):>9} "
        f"{_number(op.min_ms, 4):>9} {share:>5} {_number(op.work.macs / 1e6 or None, 3):>9} {op.work.bytes / 1e3:8.1f} "
        f"{_shape(op):>16} {intensity:>7} {_number(op.gmacs, 2):>7} "
        f"{'' if op.peak_share is None else f'{100 * op.peak_share:4.0f}%':>5}  "
        f"{_short(op.outputs[0] if op.outputs else '', _TENSOR_WIDTH):{_TENSOR_WIDTH}}  {_run_as(op)}"
    )


def _shape(op: OpCost) -> str:
    if op.work.kind == "depthwise":
        return "depthwise"
    gemm = op.work.gemm
    if gemm is None:
        return ""
    return f"{gemm.m}x{gemm.n}x{gemm.k}" + (f" x{gemm.groups}" if gemm.groups > 1 else "")


def _run_as(op: OpCost) -> str:
    if op.folded:
        return "folded away" if op.folded_into is None else f"folded into op {op.folded_into}"
    if op.kernels:
        return " + ".join(op.kernels)
    if not op.delegated:
        return "built-in kernel"
    return "unmapped" if op.ms is None else ""


def _families(profile: Profile) -> Iterator[str]:
    if not profile.families:
        return
    yield f"{'kind':12} {'ops':>4} {'ms':>9} {'%':>5} {'MMAC':>9} {'kB':>9} {'ns/kMAC':>8} {'ns/kB':>8}"
    for family in profile.families:
        share = 100 * family.ms / profile.ops_ms if profile.ops_ms else 0.0
        yield (
            f"{family.kind:12} {family.ops:4} {family.ms:9.4f} {share:5.1f} {family.macs / 1e6:9.2f} "
            f"{family.bytes / 1e3:9.1f} {_number(family.ns_per_kmac, 1):>8} {_number(family.ns_per_kbyte, 1):>8}"
        )


def _left_out(profile: Profile) -> Iterator[str]:
    left = [op for op in profile.ops if not op.delegated]
    if left:
        yield ""
    for op in left:
        time = "" if op.ms is None else f" ({op.ms:.4f} ms)"
        yield f"left out: op {op.index} {op.name}{time}: {op.reason}"


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _short(text: str, width: int) -> str:
    return text if len(text) <= width else ".." + text[2 - width :]
