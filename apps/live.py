"""``python -m apps.live MODEL INPUT [OUTPUT ...]``: live detections, headless by default."""

from __future__ import annotations

import contextlib
import gc
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

# What else is needed is loaded in :func:`main`: Ctrl-C and a missing package are then what they are everywhere.
from runtime.commandline import Notes, run

if TYPE_CHECKING:
    from apps.moment import Figures, Moment, Output
    from apps.options import Options
    from apps.service import Service
    from apps.session import Session

_STATUS_INTERVAL_S = 1.0


def main(argv: Sequence[str]) -> int:
    """Runs the app until the input ends, the time is over or a signal arrives."""
    from apps.memory import give_back_what_is_large
    from apps.options import read_options
    from apps.service import Service

    options = read_options(argv)
    give_back_what_is_large()
    service = Service()
    if service.step_back:
        # Who has no turn need not give it up.
        signal.signal(service.step_back, signal.SIG_IGN)
    while _has_its_turn(options, service):
        service.alive()
        # What refers to itself in a circle holds the network.
        gc.collect()
    return 0


def _has_its_turn(options: Options, service: Service) -> bool:
    """From loading to the end; whether it ended for another release and is to wait again."""
    from apps.outputs import open_outputs, preload
    from apps.session import Session

    status = _Status()
    with Session(options, status.say, service) as session, contextlib.ExitStack() as stack:
        # The network is loaded; at an update this waits until the release before has let go of camera and port, and
        # loads the rest while that one ends.
        session.take_turn(lambda: preload(options))
        session.open()
        outputs: list[Output] = []
        for opened in open_outputs(options, session, status.say):
            outputs.append(opened)
            stack.callback(opened.close)
        outputs.append(status)
        status.assumed = Notes(session.detector.card)
        with _stopping(session, options.seconds):
            session.run(outputs, paced=_paced(options))
    status.finish(session)
    for uri in options.outputs:
        if "://" not in uri:
            status.say(f"wrote {uri}")
    return session.stepped_back


def _paced(options: Options) -> bool:
    """Whoever watches wants the speed of the world; whoever records wants every frame."""
    from apps.outputs import is_watched

    return any(map(is_watched, options.outputs)) if options.pace is None else options.pace == "real"


@contextlib.contextmanager
def _stopping(session: Session, seconds: float | None) -> Iterator[None]:
    """Ends the session on Ctrl-C, on SIGTERM and after some seconds; a second Ctrl-C ends the program at once."""
    back = session.service.step_back

    def stop(number: int, stack: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        # Not from the handler itself: the interrupted thread may hold the lock that stopping needs.
        target = session.step_back if number == back else session.stop
        threading.Thread(target=target, daemon=True).start()

    numbers = (signal.SIGINT, signal.SIGTERM, *([back] if back else []))
    saved = {number: signal.signal(number, stop) for number in numbers}
    timer = threading.Timer(seconds, session.stop) if seconds else None
    if timer:
        timer.daemon = True
        timer.start()
    try:
        yield
    finally:
        if timer:
            timer.cancel()
        for number, handler in saved.items():
            signal.signal(number, handler)


class _Status:
    """An output: one moving line on a terminal, what is to be said above it, and a last line with the totals."""

    def __init__(self) -> None:
        self.assumed: Notes | None = None
        self._moving = sys.stderr.isatty()
        self._start = time.monotonic()
        self._last = 0.0

    def show(self, moment: Moment) -> None:
        """Updates the line, once a second."""
        if self.assumed:
            self.assumed.tell()
        self.tell(moment.figures)

    def tell(self, figures: Figures) -> None:
        """Updates the line, once a second."""
        now = time.monotonic()
        if self._moving and now - self._last >= _STATUS_INTERVAL_S:
            self._last = now
            text = f"{figures.fps:.1f} frames/s, latency {figures.latency_ms:.0f} ms, {figures.dropped} dropped"
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Nothing to do."""

    def say(self, text: str) -> None:
        """Prints a line of its own."""
        start = "\r\x1b[K" if self._moving else ""
        print(f"{start}{' '.join(text.split())}", file=sys.stderr, flush=True)

    def finish(self, session: Session) -> None:
        """Prints the totals."""
        seconds = max(1e-9, time.monotonic() - self._start)
        rate = session.frames / seconds
        self.say(f"{session.frames} frames in {seconds:.1f} s ({rate:.1f}/s), {session.dropped} dropped")


if __name__ == "__main__":
    sys.exit(run(main))
