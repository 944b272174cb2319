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
# Kernels of different processors may round an int8 differently by one.
_SCORE_TOLERANCE, _IOU = 0.1, 0.5
# Of near rivals another one may win; a broken kernel gets none right.
_SHARE = 0.6


def smoke_test(manifest: Manifest) -> list[str]:
    """Runs the doctor and a detection with a known answer.

    Returns:
        What the doctor found that does not stop the release.

    Raises:
        BoardError: An interpreter that dies, a wrong answer, a check that must hold.
    """
    folder = RELEASES / manifest.id
    report = json.loads(_run(folder, ["doctor", "--json"], "the doctor", (0, 1)))
    remarks = []
    for check in report["checks"]:
        if not check["ok"] and check["name"] in _NECESSARY:
            raise BoardError(f"smoke test: {check['name']}: {check['detail']}; {check['fix']}")
        if not check["ok"]:
            remarks.append(f"{check['name']}: {check['detail']}; {check['fix']}")
    if manifest.answer:
        score = str(manifest.answer["score"])
        command = ["detect", str(folder / manifest.model_name), str(folder / "smoke.png"), "--json", "--score", score]
        found = json.loads(_run(folder, command, "detection on the known picture", (0,)))["detections"]
        compare(manifest.answer["detections"], found)
    return remarks


def compare(expected: list[dict[str, Any]], found: list[dict[str, Any]]) -> None:
    """Compares detections with the known answer; those near the threshold may be missing or too many.

    Raises:
        BoardError: They differ.
    """
    best = max((one["score"] for one in expected), default=0.0)
    sure = [one for one in expected if one["score"] >= best - _SCORE_TOLERANCE]
    hits = sum(any(_same(one, other) for other in found) for one in sure)
    many = abs(len(found) - len(expected)) > max(2, len(expected) // 3)
    if many or hits < _SHARE * len(sure):
        names = ", ".join(f"{one['label']} {one['score']:.2f}" for one in found[:5]) or "nothing"
        raise BoardError(
            f"smoke test: a wrong answer on the known picture: found {names} ({len(found)} in all), "
            f"expected {len(expected)} with {sure[0]['label'] + ' among them' if sure else 'nothing'}"
        )


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    near = abs(one["score"] - other["score"]) <= _SCORE_TOLERANCE
    return one["label"] == other["label"] and near and _iou(one["box"], other["box"]) >= _IOU


def _iou(a: list[float], b: list[float]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    common = max(0.0, width) * max(0.0, height)
    return common / max(1e-9, (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common)


def _run(folder: Path, arguments: list[str], what: str, good: tuple[int, ...]) -> str:
    user = pwd.getpwnam(USER)
    groups = [entry.gr_gid for entry in grp.getgrall() if USER in entry.gr_mem]
    try:
        done = subprocess.run(
            [folder / ".venv" / "bin" / "python", "-m", "runtime", *arguments],
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
        raise BoardError(f"smoke test: {what} took more than {_SECONDS} s") from None
    if done.returncode < 0:
        raise BoardError(f"smoke test: {what} ended by {signal.Signals(-done.returncode).name}")
    if done.returncode not in good:
        lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")] or done.stderr.splitlines()
        raise BoardError(f"smoke test: {what} failed: {(lines or ['no message'])[-1][:300]}")
    return done.stdout
