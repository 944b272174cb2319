"""Counts the instructions of a frame on emulated cores: ``python -m tests.arm.count MODEL... [--json FILE]``.

A figure to compare two versions of the program by, on one core. It knows nothing of caches or stalls, and is no time.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from runtime.scenes import draw_scene
from tests.arm.boards import CORES, Core, UserLand, needs
from tests.arm.device import ready

_HERE = Path(__file__).parent
_SUITE, _PYTHON = "trixie", "python3.13"
_FRAMES, _WARM = 6, 3
_STEPS = ("preprocess", "inference", "postprocess")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make bench-arm", description=__doc__)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--json", type=Path, help="where the figures go as well")
    options = parser.parse_args(argv)
    lack = needs.counting()
    if absent := [str(model) for model in options.models if not model.is_file()]:
        lack = f"no file {absent[0]}; expected a built model; type make models"
    if lack:
        print(f"error: {lack}", file=sys.stderr)
        return 2
    rows = measure(options.models)
    print(table(rows))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


def measure(models: list[Path]) -> list[dict[str, object]]:
    """Instructions per frame of each model on each core: median of the frames after the first few."""
    with tempfile.TemporaryDirectory(prefix="edgewren-count-") as name:
        folder = Path(name)
        board = UserLand(folder / "board", _SUITE, over=ready(_SUITE))
        plugin = folder / "counter.so"
        subprocess.run(["gcc", "-O2", "-shared", "-fPIC", _HERE / "counter.c", "-o", plugin], check=True)
        np.save(folder / "frame.npy", draw_scene(7, 768, 432).pixels)
        return [
            {"model": model.stem, "core": core.name, **_count(board, folder, plugin, model, core)}
            for model in models
            for core in CORES.values()
        ]


def _count(board: UserLand, folder: Path, plugin: Path, model: Path, core: Core) -> dict[str, int]:
    root, marks = folder / "root", folder / "marks"
    root.mkdir(exist_ok=True)
    (folder / "cpuinfo").write_text(core.cpuinfo())
    guest = [root / "usr/bin" / _PYTHON, _HERE / "guest_frames.py", model.resolve(), folder / "frame.npy", _FRAMES]
    emulator = ["qemu-aarch64", "-cpu", core.name, "-plugin", f"{plugin},out={marks}", "-L", root, *guest]
    command = ["unshare", "--mount", "sh", _HERE / "count.sh", folder, board.upper, board.layers, *emulator]
    # Other variables would move the count.
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(root / f"opt/edgewren/lib/{_PYTHON}/site-packages"),
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    subprocess.run([str(part) for part in command], env=environment, cwd=folder, check=True)
    counts = [int(line.split()[1]) for line in marks.read_text().splitlines()]
    steps = np.diff(np.reshape(counts, (_FRAMES, 4)), axis=1)[_WARM:]
    return {name: int(statistics.median(steps[:, index].tolist())) for index, name in enumerate(_STEPS)}


def table(rows: list[dict[str, object]]) -> str:
    """The figures in thousands of instructions, and the share of all that is not inference."""
    lines = [
        f"{'model':<20}{'core':<12}{'pre':>9}{'infer':>10}{'post':>9}{'pre + post':>12}   thousands of instructions"
    ]
    for row in rows:
        pre, infer, post = (int(str(row[step])) for step in _STEPS)
        share = f"{100 * (pre + post) / (pre + infer + post):.1f} %"
        figures = f"{pre / 1e3:>9.0f}{infer / 1e3:>10.0f}{post / 1e3:>9.0f}{share:>12}"
        lines.append(f"{row['model']:<20}{row['core']:<12}{figures}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
