"""Ansible's results as JSON lines on stdout: ``{"host", "task", "ok", "changed", "result", "unreachable"}``."""

from __future__ import annotations

import json
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: edgewren_events
type: stdout
short_description: results as JSON lines
description: For deploy.engine, which turns them into sentences.
"""


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """Prints one line per result."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "edgewren_events"

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        _print({"host": host.get_name(), "task": task.get_name(), "begins": True})

    def v2_runner_on_ok(self, result: Any) -> None:
        _print(_event(result, True))

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        _print(_event(result, False))

    def v2_runner_on_unreachable(self, result: Any) -> None:
        _print(_event(result, False) | {"unreachable": True})


def _event(result: Any, ok: bool) -> dict[str, Any]:
    said = result.result if hasattr(result, "result") else result._result
    kept = {name: said[name] for name in ("stdout", "stderr", "msg", "rc") if name in said}
    host = result.host if hasattr(result, "host") else result._host
    task = result.task if hasattr(result, "task") else result._task
    changed = bool(said.get("changed"))
    return {"host": host.get_name(), "task": task.get_name(), "ok": ok, "changed": changed, "result": kept}


def _print(event: dict[str, Any]) -> None:
    print(json.dumps(event), flush=True)
