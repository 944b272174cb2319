"""``python -m apps.live MODEL INPUT [OUTPUT ...]``: live detections, headless by default."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from runtime.commandline import Notes, Parser, count, fraction, run
from runtime.grammar import INPUTS, OUTPUTS

_STATUS_INTERVAL_S = 1.0


def parser() -> Parser:
    """The command line."""
    made = Parser(
        prog="python -m apps.live",
        description="Find objects in a camera, a video or images, and show them.",
        epilog="Without OUTPUT the live page is served on http://127.0.0.1:8080. Ctrl-C stops and completes files.",
    )
    made.add_argument("model", type=Path, metavar="MODEL", help="a .tflite detector")
    made.add_argument("input", metavar="INPUT", help=INPUTS)
    made.add_argument(
        "outputs", nargs="*", default=[], metavar="OUTPUT", help=f"http://HOST:PORT (live page), {OUTPUTS}"
    )
    made.add_argument("--score", type=fraction, help="lowest score to show, 0..1 (default: the model's)")
    made.add_argument("--threads", type=count, help="interpreter threads (default: one per core, at most 4)")
    made.add_argument("--labels", type=Path, help="class names, one per line, instead of the model's")
    made.add_argument("--loop", action="store_true", help="start a video or folder again when it ends")
    made.add_argument("--seconds", type=float, metavar="S", help="stop after S seconds")
    pace = made.add_mutually_exclusive_group()
    pace.add_argument("--paced", action="store_true", default=None, help="play a video at its own speed")
    pace.add_argument("--fast", action="store_false", dest="paced", help="as fast as possible, no frame left out")
    return made


def main(argv: Sequence[str]) -> int:
    """Runs the app until the input ends, the time is over or a signal arrives."""
    arguments = parser().parse_args(argv)

    from apps.outputs import DEFAULT, WebOutput, open_output
    from apps.service import Service
    from runtime.detector import Detector
    from runtime.pipeline import Meter, Pipeline
    from runtime.sources import open_source

    uris = arguments.outputs or [DEFAULT]
    with contextlib.ExitStack() as stack:
        detector = stack.enter_context(
            Detector.open(arguments.model, arguments.threads, arguments.score, arguments.labels)
        )
        service = Service()
        service.ready()
        source = open_source(arguments.input)
        stack.callback(source.close)
        outputs = []
        for uri in uris:
            outputs.append(open_output(uri, detector.card, source))
            stack.callback(outputs[-1].close)
            if isinstance(outputs[-1], WebOutput):
                _say(f"live page: {outputs[-1].url}  (Ctrl-C stops)")
        # Whoever watches wants the speed of the world; whoever records wants every frame.
        watched = any(isinstance(output, WebOutput) for output in outputs)
        paced = watched if arguments.paced is None else arguments.paced
        pipeline = Pipeline(source, detector, arguments.loop, paced)
        meter, status, notes = Meter(), _Status(), Notes(detector.card)
        with pipeline, _stopping(pipeline, arguments.seconds):
            for result in pipeline:
                service.alive()
                meter.add(result)
                notes.tell()
                figures = _figures(meter, result.dropped)
                for output in outputs:
                    if isinstance(output, WebOutput):
                        output.show(result.frame, result.found, figures)
                    else:
                        output.write(result.frame, result.found)
                status.show(figures)
    status.finish()
    for uri in uris:
        if "://" not in uri:
            _say(f"wrote {uri}")
    return 0


def _figures(meter: Any, dropped: int) -> dict[str, Any]:
    return {"fps": round(meter.fps, 1), "latency_ms": round(meter.latency_ms, 1), "dropped": dropped}


@contextlib.contextmanager
def _stopping(pipeline: Any, seconds: float | None) -> Iterator[None]:
    """Ends the pipeline on Ctrl-C, on SIGTERM and after some seconds; a second Ctrl-C ends the program at once."""

    def stop(number: int, stack: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        # Not from the handler itself: the interrupted thread may hold the lock that stopping needs.
        threading.Thread(target=pipeline.stop, daemon=True).start()

    saved = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    timer = threading.Timer(seconds, pipeline.stop) if seconds else None
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
    """One moving line on a terminal, and a last line with the totals."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()
        self._start = time.monotonic()
        self._last = 0.0
        self._count = 0
        self._dropped = 0

    def show(self, figures: dict[str, Any]) -> None:
        """Counts a frame and, once a second, updates the line."""
        self._count += 1
        self._dropped = figures["dropped"]
        now = time.monotonic()
        if self._shown and now - self._last >= _STATUS_INTERVAL_S:
            self._last = now
            text = f"{figures['fps']:.1f} frames/s, latency {figures['latency_ms']:.0f} ms, {self._dropped} dropped"
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)

    def finish(self) -> None:
        """Prints the totals."""
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr)
        seconds = max(1e-9, time.monotonic() - self._start)
        _say(f"{self._count} frames in {seconds:.1f} s ({self._count / seconds:.1f}/s), {self._dropped} dropped")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(run(main))
