"""A release proves itself before anything is switched: in child processes, as the service's user."""

from __future__ import annotations

import grp
import json
import os
import pwd
import signal
import subprocess
from pathlib import Path
from typing import Any

from deploy.board.bundle import Manifest
from deploy.board.layout import RELEASES, USER
from deploy.board.steps import BoardError

# A camera that is unplugged or a board that is hot says nothing about the release.
_NECESSARY = ("python", "interpreter", "opencv")
_SECONDS = 300
# The known picture has the size of the network's input, so that nothing is resized; what remains is a kernel that
# rounds an int8 the other way.
_SCORE_TOLERANCE, _PIXELS = 0.02, 2.0
# One process for both: loading the libraries takes longer than either. The child of it that the doctor otherwise
# makes for an interpreter that may die is this one.
_CHILD = """
import json, sys
from runtime.doctor import examine
print(json.dumps([check.to_dict() for check in examine(apart=False)]), flush=True)
if sys.argv[1:]:
    from runtime.cli import main
    from runtime.commandline import run
    sys.argv[1:] = ["detect", *sys.argv[1:], "--json"]
    sys.exit(run(main))
"""


def smoke_test(manifest: Manifest) -> list[str]:
    """Runs the doctor and a detection with a known answer.

    Returns:
        What the doctor found that does not stop the release.

    Raises:
        BoardError: An interpreter that dies, a wrong answer, a check that must hold.
    """
    folder = RELEASES / manifest.id
    arguments: list[str] = []
    if manifest.answer:
        arguments = [str(folder / manifest.model_name), str(folder / "smoke.png"), "--score"]
        arguments.append(str(manifest.answer["score"]))
    checks, *answers = _run(folder, arguments).splitlines()
    remarks = []
    for check in json.loads(checks):
        if not check["ok"] and check["name"] in _NECESSARY:
            raise BoardError(f"smoke test: {check['name']}: {check['detail']}; {check['fix']}")
        if not check["ok"]:
            remarks.append(f"{check['name']}: {check['detail']}; {check['fix']}")
    if manifest.answer:
        compare(manifest.answer, json.loads(answers[0])["detections"])
    return remarks


def compare(answer: dict[str, Any], found: list[dict[str, Any]]) -> None:
    """Compares detections with the known answer; only those at the very threshold may be missing or too many.

    Args:
        answer: ``{"score", "detections"}``.
        found: ``{"label", "score", "box"}`` of each.

    Raises:
        BoardError: They differ.
    """
    expected: list[dict[str, Any]] = answer["detections"]
    sure = answer["score"] + _SCORE_TOLERANCE
    left, missing = list(found), []
    for one in expected:
        if (match := next((other for other in left if _same(one, other)), None)) is not None:
            left.remove(match)
        elif one["score"] >= sure:
            missing.append(one)
    odd = [one for one in left if one["score"] >= sure]
    if missing or odd:
        raise BoardError(
            f"smoke test: a wrong answer on the known picture: {len(missing)} of {len(expected)} objects are not found "
            f"as they should be ({_named(missing)}), {len(odd)} are found that should not be ({_named(odd)})"
        )


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    near = abs(one["score"] - other["score"]) <= _SCORE_TOLERANCE
    edges = (abs(a - b) for a, b in zip(one["box"], other["box"], strict=True))
    return bool(one["label"] == other["label"] and near and max(edges) <= _PIXELS)


def _named(found: list[dict[str, Any]]) -> str:
    return ", ".join(f"{one['label']} {one['score']:.2f}" for one in found[:3]) or "none"


def _run(folder: Path, arguments: list[str]) -> str:
    user = pwd.getpwnam(USER)
    groups = [entry.gr_gid for entry in grp.getgrall() if USER in entry.gr_mem]
    try:
        done = subprocess.run(
            [folder / ".venv" / "bin" / "python", "-c", _CHILD, *arguments],
            cwd="/",
            user=user.pw_uid,
            group=user.pw_gid,
            extra_groups=groups,
            env={"PATH": os.defpath, "LC_ALL": "C.UTF-8", "HOME": "/nonexistent"},
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BoardError(f"smoke test: it took more than {_SECONDS} s") from None
    if done.returncode < 0:
        raise BoardError(f"smoke test: the interpreter ended by {signal.Signals(-done.returncode).name}")
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")] or done.stderr.splitlines()
        raise BoardError(f"smoke test: it failed: {(lines or ['no message'])[-1][:300]}")
    return done.stdout
