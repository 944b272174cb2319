"""A tiny model in a child process: a wheel built for a newer processor dies there, and that must be a finding."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[2]
SELF_TEST_MODEL = _ROOT / "runtime" / "data" / "selftest.tflite"
_THREADS = 2
_TIMEOUT_S = 120


def self_test_facts() -> dict[str, Any]:
    """Runs the tiny bundled model in this process; the child's half of the check."""
    import numpy as np

    from runtime.engine import Engine
    from runtime.ops import list_ops
    from runtime.provider import provider

    before = _threads()
    engine = Engine(SELF_TEST_MODEL, _THREADS)
    engine.input_view()[:] = np.arange(engine.inputs[0].shape[1])[None, :, None, None] - 16
    engine.invoke()
    ops = list_ops(engine)
    return {
        "provider": engine.provider,
        "distribution": provider().distribution,
        "delegated": ops.delegated,
        "total": len(ops.ops),
        "workers": _threads() - before,
        "sum": int(sum(int(engine.output_view(i).astype(np.int64).sum()) for i in range(len(engine.outputs)))),
    }


def run_self_test() -> dict[str, Any]:
    """What a child process says of itself, or ``error``: how it ended."""
    code = "import json; from runtime.doctor import self_test_facts; print(json.dumps(self_test_facts()))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(_ROOT), os.environ.get("PYTHONPATH", "")])}
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return {"error": str(error)}
    if done.returncode < 0:
        return {"error": f"killed by {signal.Signals(-done.returncode).name}"}
    try:
        facts: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        return {"error": (done.stderr.strip().splitlines() or ["no output"])[-1]}
    return facts


def _threads() -> int:
    """Threads of this process; 0 where the kernel does not tell."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return 0
