"""Events as HTTP POST requests: one JSON object each."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import queue
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from apps.moment import Event, Figures, Moment
from runtime.errors import InputError
from runtime.grammar import shown

_WAITING = 256
_TIMEOUT_S = 5.0
_PAUSES_S = (1.0, 3.0)  # between tries
_FLUSH_S = 3.0


class _Straight(urllib.request.HTTPRedirectHandler):
    """Follows nobody: Python's client would go there with a GET, and without the event."""

    def redirect_request(self, *answer: Any, **named: Any) -> None:
        """Leaves the answer to be an error."""


_OPENER = urllib.request.build_opener(_Straight)


class WebhookOutput:
    """Posts events to a URL from a thread of its own, in order; the session never waits.

    A request that fails is tried three times in all; 3xx answers, which are not followed, and 4xx answers are not tried
    again. When more than 256 events wait, new ones are left out and counted.

    Args:
        url: ``http://..`` or ``https://..``.
        say: Takes one line for the user when posting begins to fail, and when it works again.

    Attributes:
        left_out: Events that were never delivered.

    Raises:
        InputError: Not such a URL.
    """

    def __init__(self, url: str, say: Callable[[str], None]) -> None:
        try:
            parts = urlsplit(url)
            good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
            # Python's client takes a user for a part of the host, and tells what it does not like of the rest.
            good = good and "@" not in parts.netloc and url.isascii() and url.isprintable() and " " not in url
        except ValueError:
            good = False
        if not good:
            expected = "expected http://HOST[:PORT]/PATH or https://.. without a user, other signs as %XX"
            raise InputError(f"{shown(url)} cannot be posted to", expected)
        self.left_out = 0
        self._url = url
        self._host = f"{parts.scheme}://{parts.hostname}"  # The rest of a URL may hold a secret: never printed.
        self._say = say
        self._failing = False
        self._closing = threading.Event()
        self._deadline = float("inf")
        self._waiting: queue.Queue[Event | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._post_all, name="edgewren-webhook", daemon=True)
        self._thread.start()

    def show(self, moment: Moment) -> None:
        """Takes the events of a moment."""
        for event in moment.events:
            try:
                self._waiting.put_nowait(event)
            except queue.Full:
                self.left_out += 1

    def tell(self, figures: Figures) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Posts what is waiting, as far as that takes no longer than a few seconds."""
        self._deadline = time.monotonic() + _FLUSH_S
        self._closing.set()
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait(None)
        self._thread.join(_FLUSH_S)

    def _post_all(self) -> None:
        while (event := self._next()) is not None:
            body = json.dumps(dataclasses.asdict(event), ensure_ascii=False).encode()
            reason = self._try(body)
            self.left_out += bool(reason)
            if bool(reason) != self._failing:
                self._failing = bool(reason)
                self._say(
                    f"webhook: {self._host} does not take events ({reason}); they are tried three times and left out"
                    if reason
                    else f"webhook: {self._host} takes events again"
                )

    def _next(self) -> Event | None:
        """Waits for an event; ``None`` at the end. A full queue had no room to say that it is the end."""
        if not self._closing.is_set():
            return self._waiting.get()
        if time.monotonic() > self._deadline:
            self.left_out += self._waiting.qsize()
            return None
        try:
            return self._waiting.get_nowait()
        except queue.Empty:
            return None

    def _try(self, body: bytes) -> str:
        """Posts with repetitions; the reason why it failed, empty when it did not."""
        for pause in (*_PAUSES_S, None):
            reason, final = self._post(body)
            if not reason or final or pause is None:
                return reason
            # Whoever closes waits for this thread.
            if self._closing.wait(pause):
                return reason
        raise AssertionError("the last pause is None")

    def _post(self, body: bytes) -> tuple[str, bool]:
        """One request: why it failed, and whether trying again is useless."""
        request = urllib.request.Request(self._url, body, {"Content-Type": "application/json"}, method="POST")
        try:
            with _OPENER.open(request, timeout=_TIMEOUT_S) as answer:
                answer.read(1024)
        except urllib.error.HTTPError as error:
            return f"status {error.code}", error.code < 500
        except (OSError, HTTPException, ValueError) as error:
            return str(getattr(error, "reason", error)) or type(error).__name__, False
        return "", False
