"""Who may look: the token, and which names of this machine are its own."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import secrets
from pathlib import Path
from urllib.parse import urlsplit

from tornado.httputil import HTTPServerRequest

from runtime.errors import InputError

VARIABLE = "EDGEWREN_TOKEN"
_LENGTH = (16, 256)
_GOOD = f"expected {_LENGTH[0]} to {_LENGTH[1]} letters, digits, - or _"


def is_loopback(host: str) -> bool:
    """Whether an address or name is reachable from this machine alone."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def find_token(host: str, file: Path | None = None) -> str:
    """The token viewers need.

    Args:
        host: The address that is served.
        file: Holds the token; made, readable for its owner alone, when it is not there yet.

    Returns:
        What the file or the variable ``EDGEWREN_TOKEN`` says; without them a new one, and for an address that is
        reachable from this machine alone an empty text: no token is needed.

    Raises:
        InputError: A token that is too short, too long or has other characters; a file that cannot be read or made.
    """
    if file is not None:
        return _from_file(file)
    if given := os.environ.get(VARIABLE, ""):
        return _checked(given, VARIABLE)
    return "" if is_loopback(host) else secrets.token_urlsafe(18)


def _from_file(file: Path) -> str:
    try:
        return _checked(file.read_text(encoding="utf-8").strip(), str(file))
    except FileNotFoundError:
        token = secrets.token_urlsafe(18)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {file} ({_reason(error)})", "expected a file with a token") from None
    try:
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
            out.write(token + "\n")
    except OSError as error:
        raise InputError(f"cannot make {file} ({_reason(error)})", "expected a place for the token") from None
    return token


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or "not text").lower()


def _checked(token: str, where: str) -> str:
    good = all(char.isascii() and (char.isalnum() or char in "-_") for char in token)
    if not good or not _LENGTH[0] <= len(token) <= _LENGTH[1]:
        raise InputError(f"{where} holds no token that can be used", _GOOD, "leave it out and one is made")
    return token


class Gate:
    """Tells whether a request may pass.

    Args:
        token: What a viewer must know; empty when everybody who reaches the address may look.
        local: Whether the address is reachable from this machine alone.
        port: The port that is served; cookies of other ports of this machine are not ours.
    """

    def __init__(self, token: str, local: bool, port: int) -> None:
        self._token = token.encode()
        self._local = local
        self.cookie = f"edgewren-{port}"
        # Not the token itself: what the browser stores opens this page and nothing else.
        self.pass_ = hashlib.sha256(b"edgewren cookie " + self._token).hexdigest()

    @property
    def open(self) -> bool:
        """Whether no token is asked for."""
        return not self._token

    def knows(self, host: str) -> bool:
        """Whether a ``Host`` header names this server.

        Without a token only names of this machine do: a stranger's page may let its own name point to 127.0.0.1 and
        would then count as the same site (DNS rebinding). With one there is no cookie under the stranger's name.
        """
        if not host:
            return False
        try:
            name = urlsplit(f"//{host}").hostname
        except ValueError:
            return False
        return bool(name) and (not self._local or is_loopback(name or ""))

    def shows(self, request: HTTPServerRequest) -> bool | None:
        """Whether a request shows the token, as a cookie, a header or, when it only reads, in its address.

        Returns:
            ``None`` when it shows nothing at all.
        """
        given: list[tuple[str, str]] = []
        if morsel := request.cookies.get(self.cookie):
            given.append((morsel.value, self.pass_))
        scheme, _, text = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            given.append((text.strip(), self._token.decode()))
        if request.method in ("GET", "HEAD"):
            found = request.query_arguments.get("token", [])
            given += [(value.decode("latin-1"), self._token.decode()) for value in found[:1]]
        if not given:
            return None
        return any(hmac.compare_digest(seen.encode(), wanted.encode()) for seen, wanted in given)
