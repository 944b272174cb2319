"""The model timed on the board it runs on, beside what others have published."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from deploy.settings import Target


def bench(
    targets: list[Target], config: Path | None, threads: list[int], runs: int, out: Path, say: Callable[[str], None]
) -> int:
    raise NotImplementedError
