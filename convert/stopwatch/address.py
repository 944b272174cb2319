"""Where a board is: ``user@host:port``, as a user types it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from runtime.errors import InputError

# A host is a name, an alias of ssh's configuration, an address, or an IPv6 address in brackets (with its zone). None of
# these can begin with '-', so none can be taken for an option.
_ADDRESS = re.compile(
    r"(?:(?P<user>[A-Za-z0-9_][A-Za-z0-9_.-]*)@)?"
    r"(?:(?P<host>[A-Za-z0-9_][A-Za-z0-9_.-]*)|\[(?P<ipv6>[0-9A-Fa-f:.]+(?:%[A-Za-z0-9_.-]+)?)\])"
    r"(?::(?P<port>[0-9]{1,5}))?"
)


@dataclass(frozen=True)
class Address:
    """A board's address.

    Attributes:
        text: As it was typed, for messages.
        login: ``user@host`` or ``host``.
        host: Without user and port.
        port: TCP port; ``None`` leaves it to ssh.
    """

    text: str
    login: str
    host: str
    port: int | None

    @staticmethod
    def parse(text: str) -> Address:
        """Reads ``host``, ``user@host`` and ``user@host:port``.

        Raises:
            InputError: Anything else, options and shell characters among it.
        """
        found = _ADDRESS.fullmatch(text)
        port = int(found["port"]) if found and found["port"] else None
        if not found or (port is not None and not 1 <= port <= 65535):
            raise InputError(
                f"board {text!r} is not an address",
                "expected user@host or user@host:port",
                "give it as you would to ssh, an IPv6 address in brackets",
            )
        host = found["host"] or found["ipv6"]
        return Address(text, f"{found['user']}@{host}" if found["user"] else host, host, port)

    @property
    def arguments(self) -> list[str]:
        """What ssh is given to reach it."""
        return [*(["-p", str(self.port)] if self.port else []), "--", self.login]

    @property
    def command(self) -> str:
        """What a person types to reach it."""
        return " ".join(["ssh", *(["-p", str(self.port)] if self.port else []), self.login])

    @property
    def known_as(self) -> str:
        """Its name in ``known_hosts``."""
        return f"'[{self.host}]:{self.port}'" if self.port not in (None, 22) else self.host
