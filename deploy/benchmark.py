"""The model timed on the board it runs on, beside what others have published."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from deploy.settings import Target
from deploy.ssh import Link
from runtime.errors import RunError
from runtime.files import make_folder, replacing

# Milliseconds per inference as their publishers give them; nothing here was measured by this project.
PUBLISHED = (
    ("Raspberry Pi 4", "MobileNet v1 int8", "XNNPACK", "1", 24.0),
    ("Raspberry Pi 4", "MobileNet v2 int8", "XNNPACK", "1", 17.0),
    ("Raspberry Pi 3B+", "MobileNet v2 int8", "XNNPACK", "1", 30.0),
    ("Raspberry Pi 4", "SSD-MobileNet v2 int8", "TFLite", "4", 57.0),
    ("Raspberry Pi 5", "SSD-MobileNet v2 int8", "TFLite", "4", 23.5),
    ("Raspberry Pi 4", "Yolo-Fastest 1.1", "ncnn", "?", 48.0),
    ("Raspberry Pi 5", "Yolo-Fastest 1.1", "ncnn", "?", 5.6),
)
_SCRIPT = """
cd /; model=$(ls /opt/edgewren/current/*.tflite) || exit 3
/opt/edgewren/current/.venv/bin/python -m runtime bench $model --threads $1 --runs $2 --json
"""
# A machine that borrows the host's processor (kvm and its like) times it as it is; an emulated processor is none.
_VIRTUAL = """
grep -qi -e qemu -e dummy-virt /proc/device-tree/model 2>/dev/null && { echo qemu; exit; }
systemd-detect-virt -v; true
"""


def bench(
    targets: list[Target],
    config: Path | None,
    threads: Sequence[int],
    runs: int,
    out: Path,
    say: Callable[[str], None],
) -> int:
    """Times the deployed model on boards, keeps the JSON and writes the table ``boards.md``.

    Args:
        targets: The boards.
        config: ssh's configuration.
        threads: Thread counts.
        runs: Rounds per thread count.
        out: Folder of the results; other boards' rows stay.
        say: Takes a line for the user.

    Raises:
        RunError: Nothing is deployed there, the measurement failed, or the board is emulated: its milliseconds say
            nothing about any board.
    """
    make_folder(out)
    for target in targets:
        link = Link(target.address, config)
        virtual = link.run(["sh", "-c", _VIRTUAL]).output.strip()
        if virtual == "qemu":
            raise RunError(
                f"{target.address.text} is emulated", "expected a real board", "its milliseconds mean nothing"
            )
        words = ["sh", "-c", _SCRIPT, "sh", ",".join(map(str, threads)), str(runs)]
        said = link.run(words, seconds=1800)
        if said.status:
            reason = (said.errors.strip().splitlines() or ["no message"])[-1]
            raise RunError(
                f"{target.address.text}: {reason}", "expected a deployed release", f"make deploy PI={target.name}"
            )
        name = "".join(char if char.isalnum() or char in ".-" else "_" for char in target.name)
        rows = [row | {"virtual": "" if virtual == "none" else virtual} for row in json.loads(said.output)]
        with replacing(out / f"{name}.json") as scratch:
            scratch.write_text(json.dumps(rows, indent=1) + "\n")
    table = results_table([row for path in sorted(out.glob("*.json")) for row in json.loads(path.read_text())])
    with replacing(out / "boards.md") as scratch:
        scratch.write_text(table)
    say(table.rstrip())
    return 0


def results_table(rows: Sequence[dict[str, Any]]) -> str:
    """Measured rows, then published ones, as a Markdown table.

    Args:
        rows: As ``runtime bench --json`` prints them.
    """
    lines = ["| board | model | interpreter | threads | ms, median | notes |", "| --- | --- | --- | --- | --- | --- |"]
    for row in rows:
        celsius = row["after"]["celsius"]
        heat = f", {celsius:.0f} degrees C" if celsius is not None else ""
        throttled = {True: ", THROTTLED: not valid", False: ", not throttled", None: ""}[row["throttled"]]
        cells = [row["machine"], Path(row["model"]).stem, row["provider"], row["threads"]]
        virtual = f" on a virtual machine ({row['virtual']})" if row.get("virtual") else ""
        cells += [f"{row['inference_ms']['median']:.2f}", f"measured{virtual}, {row['runs']} runs{heat}{throttled}"]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    lines += [
        f"| {board} | {model} | {what} | {count} | {ms} | published |" for board, model, what, count, ms in PUBLISHED
    ]
    return "\n".join(lines) + "\n"
