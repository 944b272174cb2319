"""Does a release that runs do its work? It is asked as a viewer would ask."""

from __future__ import annotations

import socket
import time

from deploy.board import services
from deploy.board.layout import TOKEN, whose_turn
from deploy.board.steps import BoardError

_SECONDS = 40.0
# A process that dies of its first frames does so within this.
_STEADY_S = 1.0
_LOOK_EVERY_S = 1.0
_TIMEOUT_S = 3.0


def wait_until_well(release: str, port: int, proven: bool = False, before: str = "") -> float:
    """Waits until a release answers and goes on running.

    Args:
        release: Its id.
        port: Of its page; 0 where it has none, then it must merely run.
        proven: It has run on this board before: one good answer of its page is enough.
        before: The release that is ending; while it has port and camera, nothing counts as an answer of the other.

    Returns:
        When it first answered, on the monotonic clock.

    Raises:
        BoardError: It died, was started again, or does not answer in time.
    """
    begin = looked = time.monotonic()
    answered, said = 0.0, "no answer"
    while (now := time.monotonic()) < begin + _SECONDS:
        said = _holds(before, release) or (ask(port) if port else "")
        if said:
            answered = 0.0
        elif not answered:
            answered = time.monotonic()
        if answered and proven and port:
            return answered
        # Asking systemd costs more than asking the page.
        steady = bool(answered) and now - answered >= _STEADY_S
        if steady or now - looked >= _LOOK_EVERY_S:
            looked = now
            _check_lives(release)
        if steady:
            return answered
        time.sleep(0.05)
    raise BoardError(f"{services.unit(release)} runs but its page on port {port} is not well: {said}")


def _holds(before: str, release: str) -> str:
    """That one release has not given way to another; ``""`` when it has."""
    if not before or not services.processes(before):
        return ""
    return "" if whose_turn() in services.processes(release) else f"{services.unit(before)} has not given way"


def _check_lives(release: str) -> None:
    state, restarts = services.show(release, "ActiveState", "NRestarts")
    if state != "active" or restarts != "0":
        raise BoardError(f"{services.unit(release)} died: {services.last_words(release)}")


def ask(port: int) -> str:
    """Asks the page how it is; ``""`` when it is well, else what it said.

    ``/healthz`` answers 200 while pictures flow. A page without it (404) is asked for itself.
    """
    for path in ("/healthz", "/"):
        try:
            status, body = _get(port, path)
        except (OSError, ValueError) as error:
            return str(error) or type(error).__name__
        if status == 200:
            return ""
        if status != 404:
            return f"{path} answers {status} {' '.join(body.split())[:120]}"
    return "it has no page"


def _get(port: int, path: str) -> tuple[int, str]:
    """Status and the beginning of the body; ``http.client`` takes longer to load than a page to answer."""
    token = _token()
    lines = [f"GET {path} HTTP/1.0", "Host: 127.0.0.1", *([f"Authorization: Bearer {token}"] if token else [])]
    with socket.socket() as connection:
        # Not create_connection(), which loads tables of names in all scripts.
        connection.settimeout(_TIMEOUT_S)
        connection.connect(("127.0.0.1", port))
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        answer = b""
        while len(answer) < 4096 and (part := connection.recv(4096)):
            answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    words = head.split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/"):
        raise ValueError("it does not speak HTTP")
    return int(words[1]), body.decode("utf-8", "replace")[:300]


def _token() -> str:
    try:
        return TOKEN.read_text().strip()
    except OSError:
        return ""
