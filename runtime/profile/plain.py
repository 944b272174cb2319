"""A profile as plain data, as ``bench --ops --json`` in ``docs/commands.md`` describes it."""

from __future__ import annotations

from typing import Any

from runtime.profile.report import Family, OpCost, Profile
from runtime.schema import encode


def to_dict(profile: Profile) -> dict[str, Any]:
    """Everything a profile knows, rounded to what was measured."""
    return {
        "model": profile.model,
        "threads": profile.threads,
        "runs": profile.runs,
        "inference_ms": profile.invoke_ms,
        "profiled_ms": profile.profiled_ms,
        "ops_ms": _rounded(profile.ops_ms),
        "disturbed": profile.disturbed,
        "finding": profile.finding,
        "partitions": profile.partitions,
        "ops": [_op(op) for op in profile.ops],
        "unmapped": [
            {"name": event.name, "median_ms": _rounded(event.median_ms), "min_ms": _rounded(event.min_ms)}
            for event in profile.unmapped
        ],
        "kinds": [_family(family) for family in profile.families],
        "peak": encode(profile.peak),
        "gemms": encode(profile.gemms),
        "copy_gbs": profile.copy_gbs,
        "provider": profile.provider,
        "machine": profile.machine,
        "throttled": profile.throttled,
    }


def _op(op: OpCost) -> dict[str, Any]:
    return {
        "index": op.index,
        "name": op.name,
        "outputs": list(op.outputs),
        "delegated": op.delegated,
        "reason": op.reason,
        "ms": _rounded(op.ms),
        "median_ms": _rounded(op.median_ms),
        "min_ms": _rounded(op.min_ms),
        "kernels": list(op.kernels),
        "folded": op.folded,
        "folded_into": op.folded_into,
        "kind": op.work.kind,
        "macs": op.work.macs,
        "bytes": op.work.bytes,
        "gemm": encode(op.work.gemm),
        "gmacs": _rounded(op.gmacs),
        "peak_share": _rounded(op.peak_share),
    }


def _family(family: Family) -> dict[str, Any]:
    return {
        "kind": family.kind,
        "ops": family.ops,
        "ms": _rounded(family.ms),
        "macs": family.macs,
        "bytes": family.bytes,
        "ns_per_kmac": _rounded(family.ns_per_kmac),
        "ns_per_kbyte": _rounded(family.ns_per_kbyte),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 5)
