"""``python -m runtime info``: what a model file holds and how it will run here."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any


def add_parser(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    """Adds the command."""
    parser = commands.add_parser("info", help="show a model's tensors, its card and what XNNPACK does not run")
    parser.add_argument("model", type=Path, metavar="MODEL", help="any .tflite file")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command."""
    facts = describe(arguments.model)
    if arguments.json:
        print(json.dumps(facts, indent=1, ensure_ascii=False))
    else:
        _print(facts)
    return 0


def describe(path: Path) -> dict[str, Any]:
    """Everything ``info`` knows, as plain data (``info`` in ``docs/commands.md``).

    Raises:
        InputError: Not a model file, or a damaged one.
    """
    from runtime.engine import Engine, TensorSpec
    from runtime.modelfile import read_card
    from runtime.ops import list_ops

    card = read_card(path)
    engine = Engine(path)
    ops = list_ops(engine)

    def tensor(spec: TensorSpec) -> dict[str, Any]:
        return {
            "name": spec.name,
            "shape": list(spec.shape),
            "dtype": str(spec.dtype),
            "scale": spec.scale,
            "zero_point": spec.zero_point,
        }

    return {
        "file": str(path),
        "bytes": path.stat().st_size,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "provider": engine.provider,
        "inputs": [tensor(spec) for spec in engine.inputs],
        "outputs": [tensor(spec) for spec in engine.outputs],
        "ops": [{"index": op.index, "name": op.name, "delegated": op.delegated, "reason": op.reason} for op in ops.ops],
        "delegated": ops.delegated,
        "total": len(ops.ops),
        "partitions": ops.partitions,
        "card": card.to_dict() if card else None,
    }


def _print(facts: dict[str, Any]) -> None:
    print(f"{facts['file']}: {facts['bytes']} bytes, sha256 {facts['sha256'][:16]}..., {facts['provider']}")
    for role in ("inputs", "outputs"):
        for tensor in facts[role]:
            shape = "x".join(map(str, tensor["shape"]))
            scale = f" scale {tensor['scale']:.6g} zero point {tensor['zero_point']}" if tensor["scale"] else ""
            print(f"  {role[:-1]:6} {tensor['name']}: {tensor['dtype']} {shape}{scale}")
    print(f"XNNPACK runs {facts['delegated']} of {facts['total']} ops in {facts['partitions']} partition(s)")
    counts = Counter(op["name"] for op in facts["ops"] if op["delegated"])
    print("  taken: " + (", ".join(f"{name} {count}" for name, count in counts.most_common()) or "nothing"))
    for op in facts["ops"]:
        if not op["delegated"]:
            print(f"  left out: op {op['index']} {op['name']}: {op['reason']}")
    if facts["card"]:
        _print_card(facts["card"])
    else:
        print("no card: this file was not made by python -m convert")


def _print_card(card: dict[str, Any]) -> None:
    spec, source = card["input"], card["source"]
    classes, decoder = len(card["labels"]["names"]), card["decoder"]["name"]
    print(f"card: {card['name']}, {card['task']}, {classes} classes, decoder {decoder}")
    print(f"  input {spec['width']}x{spec['height']} {spec['color']}, {spec['resize']}")
    print(f"  source {source['format']}, licence {source['licence'] or 'unknown'}")
    if card["quantization"]:
        made = card["quantization"]
        print(f"  {made['method']}; calibrated on {made['calibration_images']} images of {made['calibration']}")
    if card["macs"]:
        print(f"  {card['macs'] / 1e6:.1f} million multiply-accumulates")
    for row in card["accuracy"]:
        print(
            f"  AP50 on {row['images']} images of {row['dataset']}: float {row['float_map50']:.1f}, "
            f"int8 {row['int8_map50']:.1f}, agreement F1 {row['agreement_f1']:.1f} %"
        )
