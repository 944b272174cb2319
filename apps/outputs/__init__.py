"""Outputs of the live app, by name."""

from __future__ import annotations

import dataclasses
import importlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from apps.moment import Figures, Moment, Output
from apps.options import DEFAULT_OUTPUT, Options
from apps.session import Session
from runtime.errors import InputError
from runtime.files import read_text
from runtime.grammar import OUTPUTS, shown
from runtime.sinks import Sink, check_outputs, open_sink

if TYPE_CHECKING:
    from apps.metrics import Metrics

_LIVE_OUTPUTS = "http://HOST:PORT, mqtt://HOST/TOPIC, display://0"


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


def open_outputs(options: Options, session: Session, say: Callable[[str], None]) -> Iterator[Output]:
    """Opens all outputs, one after the other: who asks for them closes what is open when one fails.

    Raises:
        InputError: See :func:`open_output`; a media folder or webhook that cannot be.
    """
    if options.media:
        from apps.media import MediaOptions, MediaOutput

        chosen = {field.name: getattr(options, field.name) for field in dataclasses.fields(MediaOptions)}
        media = MediaOutput(options.media, MediaOptions(**chosen), session.notices.set)
        session.record_with(media, media.library)
        yield media
    check_outputs(options.outputs)
    for uri in options.outputs:
        yield from open_output(uri, session, say)
    for url in options.webhooks:
        from apps.outputs.webhook import WebhookOutput

        yield WebhookOutput(url, say)


def open_output(uri: str, session: Session, say: Callable[[str], None]) -> tuple[Output, ...]:
    """Opens an output by name.

    Args:
        uri: ``http://HOST:PORT``, ``display://0``, ``mqtt://..``, or what :func:`runtime.sinks.open_sink` takes.
        session: Open; gives the class names, and takes what the page and MQTT ask for.
        say: Takes one line for the terminal or log.

    Raises:
        InputError: An unknown kind of name, an address that cannot be served, no screen to show a window on, a place
            that cannot be written.
    """
    scheme = uri.partition("://")[0]
    if scheme == "http":
        return _open_page(uri, session, say)
    if scheme == "display":
        from apps.outputs.window import WindowOutput

        return (WindowOutput(uri, lambda: session.state()["shapes"], _stills(session), session.stop, session.stopping),)
    if scheme in ("mqtt", "mqtts"):
        from apps.outputs.mqtt import MqttOutput

        name = f"Edgewren {os.uname().nodename}"
        return (MqttOutput(uri, name, session, say, _secret(session.options.mqtt_password_file)),)
    if "://" in uri and scheme != "json":
        raise InputError(f"{shown(uri)} is not an output this version knows", f"expected {_LIVE_OUTPUTS}, {OUTPUTS}")
    return (SinkOutput(open_sink(uri, session.detector.labels, session.source)),)


def preload(options: Options) -> None:
    """Loads what :func:`open_outputs` will need, so that at an update it is quicker after the old release has ended."""
    if any(uri.startswith("http://") for uri in options.outputs):
        importlib.import_module("tornado.platform.asyncio")
    if any(uri.startswith("mqtt") for uri in options.outputs):
        importlib.import_module("apps.outputs.mqtt")
    if options.media:
        importlib.import_module("apps.media")


def _secret(path: Path | None) -> str | None:
    """The first line of a file.

    Raises:
        InputError: There is nothing on it: connecting without a password is another thing than having none to give.
    """
    if path is None:
        return None
    password = read_text(path, "a password on one line").partition("\n")[0].strip()
    if not password:
        raise InputError(f"{path} begins with an empty line", "expected a password on it", "write it there")
    return password


def is_watched(uri: str) -> bool:
    """Whether somebody may watch this output."""
    return uri.startswith(("http://", "display://"))


def _stills(session: Session) -> Callable[[], bool]:
    """Whether the source of the moment gives single pictures."""
    return lambda: not session.source.live and session.source.fps is None


def _open_page(uri: str, session: Session, say: Callable[[str], None]) -> tuple[Output, ...]:
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname or "127.0.0.1", parts.port if parts.port is not None else 8080
    except ValueError:
        host, port, parts = "", 0, urlsplit("")
    # A token or password in there would seem to protect something.
    if not host or parts.path.strip("/") or parts.query or "@" in parts.netloc:
        raise InputError(
            f"{shown(uri)} is not an address to serve", "expected http://HOST:PORT", f"give {DEFAULT_OUTPUT}"
        )
    from apps.metrics import Metrics
    from apps.server import WebOutput, find_token

    metrics = Metrics(session.state()["model"])
    page = WebOutput(
        host,
        port,
        session,
        token=find_token(host, session.options.token_file),
        media=session.library,
        metrics=lambda: _scraped(metrics, session),
        health=lambda: session.health.check(time.monotonic()),
    )
    # A service manager keeps what is said in its journal, where no token belongs.
    told = page.url.partition("?")[0] if "NOTIFY_SOCKET" in os.environ else page.url
    say(f"live page: {told}  (Ctrl-C stops)")
    return metrics, page


def _scraped(metrics: Metrics, session: Session) -> str:
    metrics.model(session.state()["model"])
    return metrics.text().decode()


__all__ = ["SinkOutput", "is_watched", "open_output", "open_outputs", "preload"]
