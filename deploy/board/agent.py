"""``python3 agent.pyz COMMAND``: one JSON object on stdout, steps on stderr."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deploy.board import services
from deploy.board.bundle import Bundle, Manifest, read_manifest
from deploy.board.health import ask
from deploy.board.layout import (
    AGENT,
    CURRENT,
    KEPT,
    LAST,
    LOCK,
    PREVIOUS,
    RELEASES,
    ROOT,
    STATE,
    STORE,
    SWITCH,
    TOKEN,
    UNITS,
    USER,
    linked_release,
    read_json,
    releases,
    remove,
    write,
)
from deploy.board.smoke import smoke_test
from deploy.board.steps import BoardError, step
from deploy.board.store import prepare, prune
from deploy.board.switch import locked, recover, settle, switch

_STALE_S = 3600


def install() -> dict[str, Any]:
    """Installs the release of this bundle and switches to it."""
    bundle = Bundle()
    manifest = bundle.manifest()
    with locked():
        recover()
        step("begin")
        changed = _accounts()
        for folder in (ROOT, STORE, RELEASES):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o755)
        changed |= bundle.install_agent(AGENT)
        changed |= prepare(bundle, manifest)
        if linked_release(CURRENT) == manifest.id and services.is_active(manifest.id):
            return {"changed": changed, "release": manifest.id}
        remarks = smoke_test(manifest)
        step("smoke")
        services.install_units(manifest.id)
        step("units")
    done = _switch_apart(manifest.id)
    prune(KEPT, {linked_release(CURRENT), linked_release(PREVIOUS)})
    step("pruned")
    return {"changed": True, "remarks": remarks, **done}


def verify() -> dict[str, Any]:
    """For a board that has what it should: is it so?"""
    with locked():
        recover()
        changed = Bundle().install_agent(AGENT)
        release = linked_release(CURRENT)
        if not services.is_active(release):
            raise BoardError(f"{release or 'no release'} does not run; deploy again")
    return {"changed": changed, "release": release}


def rollback() -> dict[str, Any]:
    """Switches to the release that ran before, which is still there."""
    with locked():
        recover()
        now, before = linked_release(CURRENT), linked_release(PREVIOUS)
        others = [name for name in releases() if name != now]
        target = before if before and before != now else (others or [""])[-1]
        if not target:
            raise BoardError("there is no other release on this board; deploy one")
        services.install_units(target)
    return {"changed": True, **_switch_apart(target)}


def status() -> dict[str, Any]:
    """What runs, since when, and what else is there."""
    now = linked_release(CURRENT)
    manifest = _manifest(now)
    return {
        "changed": False,
        "release": now,
        "active": services.is_active(now),
        "since": services.show(now, "ActiveEnterTimestamp") if now else "",
        "restarts": services.show(now, "NRestarts") if now else "",
        "memory_mb": _megabytes(services.show(now, "MemoryCurrent")) if now else None,
        "model": manifest.model_name if manifest else "",
        "model_sha256": manifest.model if manifest else "",
        "page": (ask(manifest.port) or "well") if manifest and manifest.port else "none",
        "port": manifest.port if manifest else 0,
        "previous": linked_release(PREVIOUS),
        "releases": releases(),
        "last": read_json(LAST),
        "unfinished": bool(read_json(SWITCH)),
    }


def undeploy() -> dict[str, Any]:
    """Removes everything a deployment has put on the board."""
    with locked(wait=True):
        there = any(path.exists() for path in (ROOT, STATE, UNITS / services.MAIN))
        services.remove_units()
        for folder in (ROOT, STATE):
            shutil.rmtree(folder, ignore_errors=True)
        if _user_exists():
            subprocess.run(["userdel", USER], capture_output=True, check=False)
            subprocess.run(["groupdel", USER], capture_output=True, check=False)
    LOCK.unlink(missing_ok=True)
    return {"changed": there}


def boot() -> dict[str, Any]:
    """While the board starts: settles a switch that was cut off and starts the current release."""
    if os.environ.get("INVOCATION_ID") and _locked_by_other():
        return {"changed": False}
    settled = settle()
    if settled:
        services.systemctl("daemon-reload")
    services.boot()
    return {"changed": settled}


def _locked_by_other() -> bool:
    try:
        with locked():
            return False
    except BoardError:
        return True


def switch_now() -> dict[str, Any]:
    """The switch itself, in a unit of its own."""
    with locked(wait=True):
        try:
            done = switch(sys.argv[2])
        except BoardError as failure:
            return {"changed": False, "failed": str(failure)}
    services.systemctl("start", services.MAIN, check=False)
    return {"changed": True, **done}


def recover_now() -> dict[str, Any]:
    """After a switch that ended, however it did."""
    with locked(wait=True):
        return {"changed": recover()}


def _switch_apart(release: str) -> dict[str, Any]:
    remove(LAST)
    services.run_apart(["switch", release], os.environ.get("EDGEWREN_DRILL", ""))
    last = read_json(LAST)
    if last.get("ok") and last.get("release") == release:
        return {name: last.get(name) for name in ("release", "was", "gap_s")}
    if not last:
        raise BoardError("the switch did not begin; look at journalctl -u edgewren-switch")
    back = f"rolled back to {last['release']}" if last.get("release") else "nothing runs, there was no release before"
    raise BoardError(f"{back}: {last.get('reason')}")


def _accounts() -> bool:
    """The service's user, its folder and the token of its page."""
    changed = not _user_exists()
    if changed:
        options = ["--system", "--user-group", "--no-create-home", "--home-dir", str(STATE), "--shell"]
        command = ["useradd", *options, "/usr/sbin/nologin", USER]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BoardError(f"useradd: {done.stderr.strip()}")
        for group in ("video", "render"):
            subprocess.run(["usermod", "-aG", group, USER], capture_output=True, check=False)
    owner = pwd.getpwnam(USER)
    if not STATE.is_dir():
        STATE.mkdir(mode=0o700)
        os.chown(STATE, owner.pw_uid, owner.pw_gid)
    if not TOKEN.exists():
        write(TOKEN, secrets.token_urlsafe(18).encode() + b"\n", 0o600)
        os.chown(TOKEN, owner.pw_uid, owner.pw_gid)
    return changed


def _user_exists() -> bool:
    try:
        pwd.getpwnam(USER)
    except KeyError:
        return False
    return True


def _manifest(release: str) -> Manifest | None:
    path = RELEASES / release / "release.json"
    return read_manifest(path.read_text()) if release and path.exists() else None


def _megabytes(text: str) -> float | None:
    return round(int(text) / 2**20, 1) if text.isdecimal() and int(text) < 1 << 60 else None


def _sweep(path: Path) -> None:
    """Removes the file that carried this program here, those of runs that were killed, and Ansible's folder."""
    if path.name.startswith(".edgewren-"):
        old = time.time() - _STALE_S
        for bundle in path.parent.glob(".edgewren-*.pyz"):
            # Another deployment may be on its way here.
            if bundle == path or bundle.stat().st_mtime < old:
                bundle.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            (path.parent / ".edgewren-ansible").rmdir()


COMMANDS: dict[str, Callable[[], dict[str, Any]]] = {
    "install": install,
    "verify": verify,
    "rollback": rollback,
    "status": status,
    "undeploy": undeploy,
    "boot": boot,
    "switch": switch_now,
    "recover": recover_now,
}


def main() -> int:
    """Runs one command; status 1 when it failed."""
    os.umask(0o022)
    try:
        result = COMMANDS[sys.argv[1]]()
    except BoardError as failure:
        result = {"changed": False, "failed": str(failure)}
    except OSError as error:
        result = {"changed": False, "failed": f"{error.filename or 'the board'}: {error.strerror or error}"}
    _sweep(Path(sys.path[0]))
    print(json.dumps(result), flush=True)
    return 1 if "failed" in result else 0
