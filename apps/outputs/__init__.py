"""Outputs of the live app: those of ``runtime.sinks`` and the live page."""

from __future__ import annotations

from urllib.parse import urlsplit

from apps.outputs.web import WebOutput
from runtime.card import ModelCard
from runtime.errors import InputError
from runtime.sinks import Sink, open_sink
from runtime.sources import Source

DEFAULT = "http://127.0.0.1:8080"


def open_output(uri: str, card: ModelCard, source: Source) -> Sink | WebOutput:
    """Opens an output by name.

    Args:
        uri: ``http://HOST:PORT``, or what :func:`runtime.sinks.open_sink` takes.
        card: The running model's card.
        source: Where the frames come from.

    Raises:
        InputError: An unknown kind of name, an address that cannot be served, a place that cannot be written.
    """
    if not uri.startswith("http://"):
        return open_sink(uri, card.labels.names, source)
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname or "127.0.0.1", parts.port if parts.port is not None else 8080
    except ValueError:
        host, port, parts = "", 0, urlsplit("")
    if not host or parts.path.strip("/"):
        raise InputError(f"{uri} is not an address to serve", "expected http://HOST:PORT", f"give {DEFAULT}")
    return WebOutput(host, port, card)


__all__ = ["DEFAULT", "WebOutput", "open_output"]
