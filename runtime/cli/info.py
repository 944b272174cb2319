"""``python -m runtime info``: what a model file holds and how it will run here."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from runtime.commandline import add_delegate, delegate_note
from runtime.errors import InputError


def add_parser(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    """Adds the command."""
    parser = commands.add_parser("info", help="show a model's tensors, its card and what XNNPACK does not run")
    parser.add_argument("model", type=Path, metavar="MODEL", help="any .tflite file")
    add_delegate(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command."""
    facts = describe(arguments.model, arguments.delegate)
    if arguments.json:
        print(json.dumps(facts, indent=1, ensure_ascii=False))
    else:
        _print(facts)
    if "delegate" in facts and (note := delegate_note(facts["delegate"])):
        print(note, file=sys.stderr)
    return 0


def describe(path: Path, delegate: str | None = None) -> dict[str, Any]:
    """Everything ``info`` knows, as plain data (``info`` in ``docs/commands.md``).

    Args:
        path: A model file.
        delegate: An external delegate, see :class:`~runtime.engine.Engine`.

    Raises:
        InputError: Not a model file, or a damaged one.
    """
    import hashlib

    from runtime.engine import Engine, TensorSpec
    from runtime.foreign.graph import read_graph
    from runtime.foreign.recognise import recognise
    from runtime.modelfile import read_card
    from runtime.ops import list_ops

    card = read_card(path)
    graph = None if card else read_graph(path)
    engine = Engine(path, delegate=delegate)
    ops = list_ops(engine)
    unknown = ""
    if graph is not None:
        try:
            card = recognise(path, engine, graph)
        except InputError as error:
            unknown = error.seen

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
        **({"delegate": engine.delegate.to_dict()} if engine.delegate else {}),
        **({"unknown": unknown} if unknown else {}),
    }


def _print(facts: dict[str, Any]) -> None:
    print(f"{facts['file']}: {facts['bytes']} bytes, sha256 {facts['sha256'][:16]}..., {facts['provider']}")
    for role in ("inputs", "outputs"):
        for tensor in facts[role]:
            shape = "x".join(map(str, tensor["shape"]))
            scale = f" scale {tensor['scale']:.6g} zero point {tensor['zero_point']}" if tensor["scale"] else ""
            print(f"  {role[:-1]:6} {tensor['name']}: {tensor['dtype']} {shape}{scale}")
    print(f"{_runners(facts)} {facts['delegated']} of {facts['total']} ops in {facts['partitions']} partition(s)")
    counts = Counter(op["name"] for op in facts["ops"] if op["delegated"])
    print("  taken: " + (", ".join(f"{name} {count}" for name, count in counts.most_common()) or "nothing"))
    for op in facts["ops"]:
        if not op["delegated"]:
            print(f"  left out: op {op['index']} {op['name']}: {op['reason']}")
    if facts["card"]:
        _print_card(facts["card"])
    else:
        print(f"not usable for detect and classify: {facts['unknown']}")


def _runners(facts: dict[str, Any]) -> str:
    delegate = facts.get("delegate")
    if not delegate or not delegate["used"]:
        return "XNNPACK runs"
    return f"{delegate['name']} ({len(delegate['ops'])} ops) and XNNPACK run"


def _range(spec: dict[str, Any]) -> tuple[float, float]:
    """Smallest and largest real value of the input."""
    channels = max(len(spec["scale"]), len(spec["offset"]))
    # One number stands for all channels; of several, each goes with its own channel's.
    scale, offset = (values * (channels // len(values)) for values in (spec["scale"], spec["offset"]))
    ends = [pixel * s + o for pixel in (0, 255) for s, o in zip(scale, offset, strict=True)]
    return min(ends), max(ends)


def _print_card(card: dict[str, Any]) -> None:
    spec, source = card["input"], card["source"]
    classes, decoder = len(card["labels"]["names"]), card["decoder"]["name"]
    made_up = source["format"] == "tflite"
    print(f"{'no card; recognised as' if made_up else 'card:'} {card['name']}, ", end="")
    print(f"{card['task']}, {classes} classes, decoder {decoder}")
    low, high = _range(spec)
    resize = f"{spec['resize']} {spec['crop']:g}" if spec["resize"] == "crop" else spec["resize"]
    print(f"  input {spec['width']}x{spec['height']} {spec['color']}, {resize}, real numbers {low:.3g}..{high:.3g}")
    print(f"  source {source['format']}, licence {source['licence'] or 'unknown'}")
    labels = card["labels"]
    names = labels["names"][labels["background"] :]
    print(f"  labels {'; '.join(names[:3])}{'; ...' if len(names) > 3 else ''}", end="")
    print("; class 0 is the background" if labels["background"] else "")
    for text in card["assumptions"]:
        print(f"  assumed: {text}")
    if card["quantization"]:
        made = card["quantization"]
        print(f"  {made['method']}; calibrated on {made['calibration_images']} images of {made['calibration']}")
    if card["macs"]:
        print(f"  {card['macs'] / 1e6:.1f} million multiply-accumulates")
    for row in card["accuracy"]:
        where, agreement = f"{row['images']} images of {row['dataset']}", f"agreement F1 {row['agreement_f1']:.1f} %"
        if None in (row["float_map50"], row["int8_map50"]):
            print(f"  {agreement} with float on {where}")
        else:
            print(f"  AP50 on {where}: float {row['float_map50']:.1f}, int8 {row['int8_map50']:.1f}, {agreement}")
