"""What the commands do, for one board and for many."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from deploy.board.bundle import Manifest
from deploy.board.layout import TOKEN
from deploy.bundle import needs, write_agent, write_bundle
from deploy.code import project_wheel
from deploy.engine import Order, Outcome, Rollout, run_play
from deploy.preflight import Facts, preflight
from deploy.release import make_manifest
from deploy.settings import Target
from deploy.ssh import Link
from deploy.wheelhouse import Tags, wheelhouse
from runtime.errors import InputError

Say = Callable[[str], None]
_TOKEN = str(TOKEN)
_SUDO = '[ "$(id -u)" = 0 ] && echo free || sudo -n true 2>&1 && echo free'


def install(
    targets: list[Target],
    config: Path | None,
    password: str,
    ask_password: Callable[[], str],
    rollout: Rollout | None,
    drill: str,
    say: Say,
) -> int:
    """Installs releases; status 1 when a board did not take its own.

    Raises:
        InputError: A board that cannot take it; then none was changed.
        RunError: The wheels could not be had, or Ansible failed.
    """
    started = time.monotonic()
    facts = _facts(targets, config, password, ask_password, say)
    password = password or facts[1]
    found = facts[0]
    with tempfile.TemporaryDirectory(prefix="edgewren-bundles-") as folder:
        manifests, orders = _orders(targets, found, Path(folder), say)
        outcomes = run_play(
            targets,
            orders,
            config=config,
            password=password,
            rollout=rollout,
            drill=drill,
            say=say if rollout else lambda line: None,
        )
    for target in targets:
        if outcomes[target.name].ok:
            _tell_install(target, manifests[target.name], outcomes[target.name], config, password, say)
    return _total(outcomes, time.monotonic() - started, say)


def everywhere(
    targets: list[Target],
    command: str,
    config: Path | None,
    password: str,
    ask_password: Callable[[], str],
    say: Say,
) -> int:
    """Runs ``rollback``, ``status`` or ``undeploy`` on boards; status 1 when one failed.

    Raises:
        InputError: A board that cannot be reached.
    """
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="edgewren-agent-") as folder:
        # What a deployment that was cut off has left is removed as well, where the board has no agent yet.
        agent = write_agent(Path(folder) / "agent.pyz") if command == "undeploy" else None
        orders = {target.name: Order(command, agent) for target in targets}
        outcomes: dict[str, Outcome] = {}
        if len(targets) == 1:
            # Whether one board lets this user in, and sudo does, is seen soon enough when it does not.
            outcomes = run_play(targets, orders, config=config, password=password)
            if any(outcome.lost for outcome in outcomes.values()):
                # Asked again for the reason in words, if it still cannot be reached.
                Link(targets[0].address, config).reach()
        if not outcomes or any(outcome.refused for outcome in outcomes.values()):
            password = _way_in(targets, config, password, ask_password)
            outcomes = run_play(targets, orders, config=config, password=password)
    for target in targets:
        # What went wrong is told at the end.
        if outcomes[target.name].ok or command == "status":
            say(f"{target.name}: {_sentence(command, outcomes[target.name])}")
    if command == "status":
        return 0 if all(outcome.ok and (outcome.result or {}).get("active") for outcome in outcomes.values()) else 1
    return _total(outcomes, time.monotonic() - started, say)


def logs(targets: list[Target], config: Path | None, lines: int, follow: bool) -> int:
    """Shows what the service of one board said.

    Raises:
        InputError: More than one board.
    """
    if len(targets) != 1:
        raise InputError(f"{len(targets)} boards", "expected one", "give its address")
    link = Link(targets[0].address, config)
    link.reach()
    command = ["journalctl", "-u", "edgewren*", "-n", str(lines), "-o", "short-iso", "--no-pager"]
    as_root = 'sudo -n true 2>/dev/null && exec sudo -n "$@"; exec "$@"'
    return link.follow(["sh", "-c", as_root, "sh", *command, *(["-f"] if follow else [])])


def _facts(
    targets: list[Target], config: Path | None, password: str, ask_password: Callable[[], str], say: Say
) -> tuple[dict[str, Facts], str]:
    """Facts by board, and a password if one was asked for."""
    try:
        return preflight(targets, config, password, say), ""
    except InputError as error:
        if "asks" not in error.seen or not (typed := ask_password()):
            raise
    return preflight(targets, config, typed, say), typed


def _orders(
    targets: list[Target], found: Mapping[str, Facts], folder: Path, say: Say
) -> tuple[dict[str, Manifest], dict[str, Order]]:
    code = project_wheel()
    agent = write_agent(folder / "agent.pyz")
    manifests, orders = {}, {}
    for target in targets:
        facts, settings = found[target.name], target.settings
        tags = Tags.of(facts, settings.camera == "csi")
        wheels = wheelhouse(tags)
        manifest = make_manifest(settings, facts, wheels, code, tags)
        manifests[target.name] = manifest
        if needs(manifest, facts):
            bundle = write_bundle(folder, manifest, facts, wheels, code, settings.model)
            orders[target.name] = Order("install", bundle)
        else:
            orders[target.name] = Order("verify", agent)
    carried = {
        (manifests[name].id, order.bundle)
        for name, order in orders.items()
        if order.bundle and order.command == "install"
    }
    for release, bundle in sorted(carried):
        say(f"release {release}: {bundle.stat().st_size / 2**20:.1f} MiB to carry")
    return manifests, orders


def _way_in(targets: list[Target], config: Path | None, password: str, ask_password: Callable[[], str]) -> str:
    """The password for sudo, asked for where a board wants one.

    Raises:
        InputError: A board that cannot be reached, or where this user may not become root.
    """
    with ThreadPoolExecutor(16) as pool:
        kinds = list(pool.map(lambda target: Link(target.address, config).run(["sh", "-c", _SUDO]).output, targets))
    if any("password is required" in kind for kind in kinds):
        password = password or ask_password()
    for target, kind in zip(targets, kinds, strict=True):
        if "free" not in kind and not ("password is required" in kind and password):
            raise InputError(
                f"{target.address.text}: this user may not use sudo without a password",
                "nothing was changed there",
                "set EDGEWREN_SUDO_PASSWORD, or there, as root: usermod -aG sudo <user>",
            )
        if "free" not in kind and not Link(target.address, config).is_password(password):
            raise InputError(
                f"{target.address.text}: sudo does not take the password",
                "nothing was changed there",
                "set EDGEWREN_SUDO_PASSWORD, or type it again",
            )
    return password


def _tell_install(
    target: Target, manifest: Manifest, outcome: Outcome, config: Path | None, password: str, say: Say
) -> None:
    result = outcome.result or {}
    for remark in result.get("remarks", []):
        say(f"{target.name}: note: {remark}")
    gap = f", {result['gap_s']:.1f} s without service" if result.get("gap_s") is not None else ""
    how = f"runs {manifest.id} now{gap}" if outcome.changed else f"runs {manifest.id} already, nothing changed"
    say(f"{target.name}: {how}")
    if manifest.port:
        say(f"{target.name}: live page: {page_address(target, manifest, config, password)}")


def page_address(target: Target, manifest: Manifest, config: Path | None, password: str) -> str:
    """The page's address, with its token where it wants one; read over ssh, and written nowhere."""
    host = f"[{target.address.host}]" if ":" in target.address.host else target.address.host
    address = f"http://{host}:{manifest.port}/"
    if _TOKEN not in manifest.unit:
        return address
    sudo = ["sudo", "-S", "-p", ""] if password else ["sudo", "-n"]
    said = Link(target.address, config).run([*sudo, "cat", _TOKEN], f"{password}\n".encode())
    if said.status:
        return f"{address} (its token: sudo cat {_TOKEN})"
    return f"{address}?token={said.output.strip()}"


def _sentence(command: str, outcome: Outcome) -> str:
    result: Mapping[str, Any] = outcome.result or {}
    if not outcome.ok:
        return outcome.fault
    if command == "undeploy":
        return "nothing of Edgewren is left" if outcome.changed else "nothing was deployed there"
    if command == "rollback":
        return f"back to {result['release']}, {result['gap_s'] or 0:.1f} s without service"
    if not result.get("release"):
        return "nothing is deployed there" + _last(result)
    state = "runs" if result["active"] else "does not run"
    memory = f", {result['memory_mb']:.0f} MiB" if result.get("memory_mb") else ""
    return (
        f"{result['release']} {state} since {result['since'] or '?'}, {result['restarts']} restarts{memory}, "
        f"model {result['model']} ({result['model_sha256'][:12]}), page {result['page']}, "
        f"kept: {' '.join(result['releases'])}{_waiting(result)}{_last(result)}"
    )


def _waiting(result: Mapping[str, Any]) -> str:
    return "".join(f"; {release} waits, loaded" for release in result.get("waiting", []))


def _last(result: Mapping[str, Any]) -> str:
    last = result.get("last") or {}
    return "" if last.get("ok", True) else f"; last try: {last.get('tried')} was taken back ({last.get('reason')})"


def _total(outcomes: Mapping[str, Outcome], seconds: float, say: Say) -> int:
    bad = {name: outcome for name, outcome in outcomes.items() if not outcome.ok}
    changed = sum(outcome.changed for outcome in outcomes.values())
    if len(outcomes) > 1:
        say(f"{len(outcomes) - len(bad)} of {len(outcomes)} boards well, {changed} changed, {seconds:.0f} s")
    others = "; the others are as told above" if len(outcomes) > 1 else ""
    for name, outcome in bad.items():
        say(f"error: {name}: {outcome.fault}{others}")
    return 1 if bad else 0
