"""Outputs of the live app, by name."""

from __future__ import annotations

import os
from collections.abc import Callable
from urllib.parse import urlsplit

from apps.moment import Figures, Moment, Output
from apps.options import DEFAULT_OUTPUT
from apps.outputs.web import WebOutput
from apps.session import Session
from runtime.errors import InputError
from runtime.sinks import Sink, open_sink


class SinkOutput:
    """Files of frames and boxes: what ``runtime.sinks`` writes.

    Args:
        sink: Closed with this.
    """

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def show(self, moment: Moment) -> None:
        """Writes a frame and its boxes."""
        self._sink.labels = moment.labels
        self._sink.write(moment.frame, moment.found)

    def tell(self, figures: Figures) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Completes the file."""
        self._sink.close()


def open_output(uri: str, session: Session, say: Callable[[str], None]) -> Output:
    """Opens an output by name.

    Args:
        uri: ``http://HOST:PORT``, ``mqtt://..``, or what :func:`runtime.sinks.open_sink` takes.
        session: Open; gives the class names, and takes what the page and MQTT ask for.
        say: Takes one line for the terminal or log.

    Raises:
        InputError: An unknown kind of name, an address that cannot be served, a place that cannot be written.
    """
    scheme = uri.partition("://")[0]
    if scheme == "http":
        return _open_page(uri, session, say)
    if scheme in ("mqtt", "mqtts"):
        from apps.outputs.mqtt import MqttOutput

        return MqttOutput(uri, f"Edgewren {os.uname().nodename}", session, say)
    return SinkOutput(open_sink(uri, session.detector.labels, session.source))


def serves_page(uri: str) -> bool:
    """Whether somebody may watch this output."""
    return uri.startswith("http://")


def _open_page(uri: str, session: Session, say: Callable[[str], None]) -> Output:
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname or "127.0.0.1", parts.port if parts.port is not None else 8080
    except ValueError:
        host, port, parts = "", 0, urlsplit("")
    if not host or parts.path.strip("/"):
        raise InputError(f"{uri} is not an address to serve", "expected http://HOST:PORT", f"give {DEFAULT_OUTPUT}")
    page = WebOutput(host, port, session.detector.card)
    say(f"live page: {page.url}  (Ctrl-C stops)")
    return _Page(page)


class _Page:
    def __init__(self, page: WebOutput) -> None:
        self._page = page

    def show(self, moment: Moment) -> None:
        figures = moment.figures
        facts = {"fps": figures.fps, "latency_ms": figures.latency_ms, "dropped": figures.dropped}
        self._page.show(moment.frame, moment.found, facts)

    def tell(self, figures: Figures) -> None:
        pass

    def close(self) -> None:
        self._page.close()


__all__ = ["SinkOutput", "open_output", "serves_page"]
