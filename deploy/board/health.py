"""Does a release that runs do its work? It is asked as a viewer would ask."""

from __future__ import annotations

import http.client
import time

from deploy.board import services
from deploy.board.layout import TOKEN
from deploy.board.steps import BoardError

_SECONDS = 40.0
# A process that dies of its first frames does so within this.
_STEADY_S = 1.0


def wait_until_well(release: str, port: int) -> float:
    """Waits until a release answers and goes on running.

    Args:
        release: Its id.
        port: Of its page; 0 where it has none, then it must merely run.

    Returns:
        When it first answered, on the monotonic clock.

    Raises:
        BoardError: It died, was started again, or does not answer in time.
    """
    end, said = time.monotonic() + _SECONDS, "no answer"
    answered = 0.0
    while time.monotonic() < end:
        if not services.is_active(release) or services.show(release, "NRestarts") != "0":
            raise BoardError(f"{services.unit(release)} died: {services.last_words(release)}")
        said = ask(port) if port else ""
        if said:
            answered = 0.0
        elif not answered:
            answered = time.monotonic()
        elif time.monotonic() - answered >= _STEADY_S:
            return answered
        time.sleep(0.05)
    raise BoardError(f"{services.unit(release)} runs but its page on port {port} is not well: {said}")


def ask(port: int) -> str:
    """Asks the page how it is; ``""`` when it is well, else what it said.

    ``/healthz`` answers 200 while pictures flow. A page without it (404) is asked for itself.
    """
    for path in ("/healthz", "/"):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=3)
            connection.request("GET", path, headers=_headers())
            answer = connection.getresponse()
            body = answer.read(300).decode("utf-8", "replace")
            connection.close()
        except (OSError, http.client.HTTPException) as error:
            return str(error) or type(error).__name__
        if answer.status == 200:
            return ""
        if answer.status != 404:
            return f"{path} answers {answer.status} {' '.join(body.split())[:120]}"
    return "it has no page"


def _headers() -> dict[str, str]:
    try:
        return {"Authorization": f"Bearer {TOKEN.read_text().strip()}"}
    except OSError:
        return {}
