"""The agent's commands that bring a release: from the bundle that the agent came in."""

from __future__ import annotations

import grp
import os
import pwd
import secrets
import subprocess
from typing import Any

from deploy.board import services
from deploy.board.behind import dismiss, recall
from deploy.board.bundle import Bundle
from deploy.board.layout import (
    AGENT,
    CURRENT,
    KEPT,
    PREVIOUS,
    RELEASES,
    ROOT,
    STATE,
    STORE,
    TOKEN,
    USER,
    linked_release,
    write,
)
from deploy.board.smoke import smoke_test
from deploy.board.steps import BoardError, step
from deploy.board.store import prepare, prune
from deploy.board.switch import locked, recover
from deploy.board.switching import is_running, switch_apart


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
        if is_running(manifest.id):
            return {"changed": changed, "release": manifest.id}
        # What is built takes minutes, and the picture goes on meanwhile; this takes seconds.
        services.hurry()
        dismiss()
        try:
            remarks = smoke_test(manifest)
        except BoardError:
            recall()
            raise
        step("smoke")
        services.install_units(manifest.id)
        step("units")
    done = switch_apart(["switch", manifest.id])
    prune(KEPT, {linked_release(CURRENT), linked_release(PREVIOUS)})
    services.forget_gone()
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


def _accounts() -> bool:
    """The service's user, its folder and the token of its page; what an earlier run that was cut off lacks, as well."""
    changed = not _user_exists()
    if changed:
        options = ["--system", "--user-group", "--no-create-home", "--home-dir", str(STATE), "--shell"]
        command = ["useradd", *options, "/usr/sbin/nologin", USER]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BoardError(f"useradd: {done.stderr.strip()}")
    groups = {entry.gr_name for entry in grp.getgrall() if USER not in entry.gr_mem}
    for group in groups & {"video", "render"}:
        subprocess.run(["usermod", "-aG", group, USER], capture_output=True, check=False)
    user = pwd.getpwnam(USER)
    owner = user.pw_uid, user.pw_gid
    STATE.mkdir(mode=0o700, exist_ok=True)
    os.chown(STATE, *owner)
    if not TOKEN.exists():
        write(TOKEN, secrets.token_urlsafe(18).encode() + b"\n", 0o600, owner)
    return changed


def _user_exists() -> bool:
    try:
        pwd.getpwnam(USER)
    except KeyError:
        return False
    return True
