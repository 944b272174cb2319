"""Where the time of a frame goes, op by op.

The times come from the profiler inside ai-edge-litert's own library (:mod:`runtime.profile.native`), in a child
process; where there is none, whole runs are timed and the answer says why.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from runtime.errors import EdgewrenError, InputError, RunError
from runtime.modelfile import check_model_file
from runtime.profile.facts import Measurement, Request
from runtime.profile.native import ProfilerError, find_library
from runtime.profile.report import Family, OpCost, Profile, build
from runtime.schema import decode, encode

__all__ = ["Family", "OpCost", "Profile", "profile"]

_ROOT = Path(__file__).resolve().parents[2]
_COMMAND = (sys.executable, "-m", "runtime.profile.child")
_TIMEOUT_S = 1800


class _DiedError(Exception):
    """The child process ended without an answer; the text says how."""


def profile(model: Path, threads: int = 1, runs: int = 50) -> Profile:
    """Times every op of a model on this machine.

    Args:
        model: Any ``.tflite`` file.
        threads: Worker threads of the interpreter.
        runs: Timed runs.

    Returns:
        Milliseconds by op as ``profile.ms``, by the tensor an op writes as ``profile.ms_by_output``. Without a
        profiler both are empty and ``profile.finding`` says why.

    Raises:
        InputError: Not a model file, or one the interpreter refuses.
        RunError: The model cannot be run here at all.
    """
    check_model_file(model)
    if threads < 1 or runs < 1:
        raise InputError(f"threads is {threads}, runs is {runs}", "expected at least 1 of each", "give larger ones")
    request, finding = Request(str(model.resolve()), threads, runs), ""
    try:
        request = dataclasses.replace(request, library=str(find_library()))
    except ProfilerError as error:
        finding = str(error)
    if request.library:
        try:
            return build(str(model), threads, runs, _measure(request))
        except _DiedError as error:
            finding = f"the profiler {error}"
            request = dataclasses.replace(request, library="")
    try:
        measured = _measure(request)
    except _DiedError as error:
        raise RunError(f"the run of {model} {error}", "expected it to run", "python -m runtime doctor") from None
    return build(str(model), threads, runs, dataclasses.replace(measured, finding=finding))


def _measure(request: Request) -> Measurement:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(_ROOT), os.environ.get("PYTHONPATH", "")])}
    text = json.dumps(encode(request))
    try:
        done = subprocess.run(
            _COMMAND, input=text, env=environment, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise _DiedError(f"gave no answer in {_TIMEOUT_S} s") from None
    if done.returncode < 0:
        raise _DiedError(f"was killed by {signal.Signals(-done.returncode).name}")
    try:
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise _DiedError(f"ended with status {done.returncode} ({last[:200]})") from None
    if "error" in answer:
        raise _error(answer)
    return decode(Measurement, answer["measurement"], "measurement")


def _error(answer: dict[str, Any]) -> EdgewrenError:
    kind = InputError if answer["exit_status"] == InputError.exit_status else RunError
    return kind(*answer["error"])
