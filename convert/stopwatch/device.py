"""Model files timed on a board, over ssh."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import runtime
from convert.stopwatch.address import Address
from convert.stopwatch.connection import Connection, Outcome
from convert.stopwatch.faults import last_line
from convert.stopwatch.timing import RUNS, Timing, check_counts, describe, timings
from runtime.errors import InputError, RunError
from runtime.files import check_file

# Where a board may have Python with a TFLite runtime: a deployed release, an environment of the user's, the system.
INTERPRETERS = ("/opt/edgewren/current/.venv/bin/python", "~/edgewren/.venv/bin/python", "python3")
# Runs on any Python 3: what it is and, if something is missing, what.
_EXAMINE = """
import json, platform, struct, sys
facts = {"version": "%d.%d" % sys.version_info[:2], "bits": 8 * struct.calcsize("P"), "arch": platform.machine()}
try:
    if sys.version_info >= (3, 11):
        import numpy
        from runtime.board import cpu_name
        from runtime.provider import provider
        facts.update(machine=cpu_name(), provider=str(provider()))
    else:
        facts["lacks"] = "it is too old"
except Exception as error:
    facts["lacks"] = getattr(error, "seen", str(error))
print(json.dumps(facts))
"""
_WANTED, _WANTED_32_BITS = "ai-edge-litert numpy", "tflite-runtime 'numpy<2'"
_NEEDED = "expected Python 3.11 or newer with NumPy and a TFLite runtime"


class DeviceStopwatch:
    """Measures on a board; a :class:`convert.stopwatch.Stopwatch`.

    The board needs Python 3.11 or newer with NumPy and a TFLite runtime (``pip install ai-edge-litert numpy``), but no
    Edgewren: this checkout's ``runtime`` package is sent along. Nothing stays on the board.

    Args:
        board: ``user@host`` or ``user@host:port``; a host of ssh's configuration too. ssh asks nothing: the user's key
            must be accepted there, and the host's key be known here.
        threads: Interpreter threads.
        runs: Timed rounds.
        python: Interpreter on the board, in its ``PATH`` or by path (``~/`` is the home there); by default the first of
            ``INTERPRETERS`` that has what it takes.
        ssh_config: ssh's configuration file (``ssh -F``) instead of the user's and the system's: keys, known hosts,
            jump hosts.

    Attributes:
        python: The interpreter that is used.

    Raises:
        InputError: Not an address, a board that cannot be reached or lets this user not in, or no such Python there.
        RunError: The connection was lost, or the board's disk is full.
    """

    def __init__(
        self,
        board: str,
        threads: int = 1,
        *,
        runs: int = RUNS,
        python: str | None = None,
        ssh_config: Path | None = None,
    ) -> None:
        check_counts(threads, runs)
        self._address = Address.parse(board)
        if python is not None and not (python and python.isprintable()):
            raise InputError(f"interpreter {python!r}", "expected the path of a Python on the board", "check it")
        config = check_file(ssh_config, "ssh's configuration") if ssh_config else None
        self._threads, self._runs, self._sources = threads, runs, _sources()
        self._connection = Connection(self._address, config)
        try:
            self.python, facts = self._find((python,) if python else INTERPRETERS)
        except BaseException:
            self.close()
            raise
        self._name = describe(facts["machine"], facts["provider"], threads)

    @property
    def name(self) -> str:
        """The board and its processor, its interpreter and the threads, for reports."""
        return self._name

    def time(self, files: Sequence[bytes]) -> list[Timing]:
        """Times files in turn; see :meth:`convert.stopwatch.Stopwatch.time`."""
        models = {f"{at}.tflite": data for at, data in enumerate(files)}
        bench = ["-m", "runtime", "bench", "--inference-only", "--json"]
        counts = ["--threads", str(self._threads), "--runs", str(self._runs)]
        outcome = self._connection.run(self._sources | models, [self.python, *bench, *counts, *models])
        rows = self._rows(outcome, len(files))
        return timings(rows, self.name)

    def by_op(self, file: bytes) -> dict[str, float]:
        """Milliseconds by op; see :meth:`convert.stopwatch.Stopwatch.by_op`."""
        bench = ["-m", "runtime", "bench", "--ops", "--json", "--threads", str(self._threads)]
        outcome = self._connection.run(self._sources | {"0.tflite": file}, [self.python, *bench, "0.tflite"])
        (profile,) = self._rows(outcome, 1)
        ops = [op for op in profile["ops"] if op["ms"] is not None and op["outputs"]]
        return {str(op["outputs"][0]): float(op["ms"]) for op in ops}

    def close(self) -> None:
        """Ends the connection; else the program's end does, or a minute without use."""
        self._connection.close()

    def _rows(self, outcome: Outcome, count: int) -> list[dict[str, Any]]:
        """What ``bench --json`` printed, one row per file."""
        if outcome.status != 0:
            raise RunError(f"{self._address.text}: the measurement failed ({_reason(outcome)})")
        rows = _json(outcome)
        if not isinstance(rows, list) or len(rows) != count:
            raise RunError(f"{self._address.text}: the measurement gave no figures ({last_line(outcome.output)})")
        return rows

    def _find(self, candidates: Sequence[str]) -> tuple[str, dict[str, str]]:
        """The first interpreter that has what it takes, and what it is."""
        faults: list[InputError] = []
        for python in candidates:
            outcome = self._connection.run(self._sources, [python, "-c", _EXAMINE])
            if outcome.status is None:
                continue
            facts = _json(outcome) if outcome.status == 0 else None
            if isinstance(facts, dict) and "machine" in facts:
                return python, facts
            faults.append(self._fault(python, facts, outcome))
        raise (
            faults[0]
            if faults
            else InputError(
                f"{self._address.text} has no Python ({', '.join(candidates)})", _NEEDED, _advice("python3", _WANTED)
            )
        )

    def _fault(self, python: str, facts: Any, outcome: Outcome) -> InputError:
        there = f"{self._address.text}: {python}"
        if not isinstance(facts, dict):
            return InputError(
                f"{there} does not run ({_reason(outcome)})",
                "expected a Python and packages for this board's processor",
                "install them there again, or name another interpreter",
            )
        kind = f"Python {facts['version']}, {facts['bits']} bits on {facts['arch']}"
        packages = _WANTED_32_BITS if facts["bits"] == 32 else _WANTED
        return InputError(f"{there} ({kind}): {facts['lacks']}", _NEEDED, _advice(python, packages))


def _advice(python: str, packages: str) -> str:
    """How the board gets what it lacks. Debian keeps pip out of the system's Python."""
    if python != "python3":
        return f"there: {python} -m pip install {packages}"
    own = "~/edgewren/.venv"
    return f"there: python3 -m venv {own} && {own}/bin/pip install {packages}"


def _sources() -> dict[str, bytes]:
    """This checkout's ``runtime`` package."""
    folder = Path(runtime.__file__).parent
    return {str(path.relative_to(folder.parent)): path.read_bytes() for path in sorted(folder.rglob("*.py"))}


def _json(outcome: Outcome) -> Any:
    """What a command printed; ``None`` where it is no JSON."""
    try:
        return json.loads(outcome.output)
    except ValueError:
        return None


def _reason(outcome: Outcome) -> str:
    """Why a command failed, in its own words."""
    if outcome.status is not None and outcome.status > 128:
        return f"ended by signal {outcome.status - 128}"
    errors = [line for line in outcome.errors.splitlines() if line.startswith("error: ")]
    return errors[-1].removeprefix("error: ") if errors else last_line(outcome.errors)
