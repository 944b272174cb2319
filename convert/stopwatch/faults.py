"""What ssh and a board's tools say when something is wrong, as one error each."""

from __future__ import annotations

import re

from convert.stopwatch.address import Address
from runtime.errors import EdgewrenError, InputError, RunError

_UNREACHABLE = r"Connection refused|timed out|No route to host|Network is unreachable|Host is down"


def connection_fault(address: Address, said: str, connected: bool, known: bool) -> EdgewrenError:
    """Why a session did not begin.

    Args:
        address: The board.
        said: What ssh printed.
        connected: ssh did its part, but the user's login shell did not run the session.
        known: The board had answered before, so that its address and keys are right.
    """
    line, there = last_line(said), address.text
    kind = RunError if known else InputError
    if connected:
        return kind(
            f"{there} runs no commands ({line})", "expected an account with a shell", f"try {address.command} id"
        )
    if "Could not resolve hostname" in said:
        return kind(
            f"{there} is not known ({line})", "expected a board in this network", "check its name, or give its address"
        )
    if "HOST IDENTIFICATION HAS CHANGED" in said:
        return kind(
            f"{there} has another host key than before",
            "expected the same board",
            f"if it was set up anew: ssh-keygen -R {address.known_as}, then {address.command}",
        )
    if "Host key verification failed" in said:
        return kind(
            f"{there} has a host key that is not known here",
            "expected a board this user has met",
            f"type {address.command} and compare the fingerprint",
        )
    if "Permission denied (" in said or "Too many authentication failures" in said:
        return kind(
            f"{there} refuses this user's key ({line})",
            "expected a login without a password",
            f"ssh-copy-id{address.command.removeprefix('ssh')}",
        )
    if re.search(_UNREACHABLE, said):
        return kind(
            f"{there} cannot be reached ({line})",
            "expected a board that is on and has ssh enabled",
            "check its power, network and address",
        )
    if known:
        return lost(address, said)
    return InputError(f"{there}: ssh failed ({line})", "expected a connection", f"try {address.command} id")


def folder_fault(address: Address, said: str) -> RunError:
    """Why the files could not be put on the board."""
    reason = last_line(said)
    if re.search(r"No space left|[Qq]uota exceeded", said):
        return RunError(
            f"{address.text} has no space for the files ({reason})",
            "expected room in its temporary folder",
            "free disk space there and retry",
        )
    return RunError(
        f"{address.text} has no place for the files ({reason})",
        "expected a temporary folder that can be written, mktemp, head and tar",
        f"look there with {address.command}",
    )


def lost(address: Address, said: str) -> RunError:
    """The connection ended before the command did."""
    return RunError(
        f"{address.text}: connection lost while it measured ({last_line(said)})",
        "expected a board that stays on and in reach",
        "check its power and network, and measure again",
    )


def last_line(said: str) -> str:
    """The last thing that was said."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "no message"
