"""``bench --tune``: how many threads are best for a model on this board."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runtime.cores import available_cores
from runtime.errors import RunError
from runtime.rounds import time_inference
from runtime.tuning import choose, remember

# Thread counts are not timed in turn: the threads of one interpreter go on looking for work for a moment, on cores that
# the next one wants. The whole sweep is repeated instead, and each count keeps its best pass.
_PASSES = 3


def tune(model: Path, threads: Sequence[int] | None, runs: int, delegate: str | None = None) -> dict[str, Any]:
    """Finds the best number of threads and keeps it for all programs.

    Args:
        model: A model file of any kind.
        threads: Numbers to try; by default 1, 2 and 4, as far as there are cores, and all cores.
        runs: Timed runs of each number.
        delegate: An external delegate, see :class:`~runtime.engine.Engine`.

    Returns:
        The row of ``bench --inference-only`` for the number that was chosen, with ``tuned`` besides: ``ms`` (the best
        median by number of threads) and ``file``.

    Raises:
        InputError: Not a model file.
        RunError: The board was throttled meanwhile.
    """
    cores = available_cores()
    tried = threads or sorted({count for count in (1, 2, 4, min(cores, 8)) if count <= cores})
    found: dict[int, dict[str, Any]] = {}
    for _ in range(_PASSES):
        for count in tried:
            (row,) = time_inference([model], [count], max(1, runs // _PASSES), delegate)
            if count not in found or row["inference_ms"]["median"] < found[count]["inference_ms"]["median"]:
                found[count] = row
            if row["throttled"]:
                raise RunError(
                    f"{row['machine']} was throttled (heat or a weak power supply)",
                    "expected full speed all the time",
                    "cool the board or give it a stronger supply, and run it again",
                )
    ms = {count: float(row["inference_ms"]["median"]) for count, row in found.items()}
    best = choose(ms)
    path = remember(model, best, ms, delegate)
    return {**found[best], "runs": runs, "tuned": {"ms": ms, "file": str(path)}}
