"""Outputs of the live app, by name."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from apps.moment import Figures, Moment, Output
from apps.options import DEFAULT_OUTPUT
from apps.session import Session
from runtime.errors import InputError
from runtime.sinks import Sink, open_sink

if TYPE_CHECKING:
    from apps.metrics import Metrics


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
    from apps.metrics import Metrics
    from apps.server import WebOutput, find_token

    metrics = Metrics(session.state()["model"])
    page = WebOutput(
        host,
        port,
        session,
        token=find_token(host, session.options.token_file),
        metrics=lambda: _scraped(metrics, session),
        health=lambda: session.health.check(time.monotonic()),
    )
    say(f"live page: {page.url}  (Ctrl-C stops)")
    return Several((metrics, page))


def _scraped(metrics: Metrics, session: Session) -> str:
    metrics.model(session.state()["model"])
    return metrics.text().decode()


class Several:
    """Outputs that belong together.

    Args:
        outputs: In the order in which they take moments.
    """

    def __init__(self, outputs: tuple[Output, ...]) -> None:
        self._outputs = outputs

    def show(self, moment: Moment) -> None:
        """Passes a moment on."""
        for output in self._outputs:
            output.show(moment)

    def tell(self, figures: Figures) -> None:
        """Passes figures on."""
        for output in self._outputs:
            output.tell(figures)

    def close(self) -> None:
        """Closes all."""
        for output in self._outputs:
            output.close()


__all__ = ["SinkOutput", "open_output", "serves_page"]
