"""Does a session stay as it is? ``python -m tests.soak MODEL --minutes 30``.

Runs the live app on drawn scenes with a viewer, MQTT (a mosquitto of its own, where there is one), a recording, clips
of events and a state file, and looks at its memory, threads, open files and the sum of its frames from outside.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from runtime.pipeline import MOST_IN_FLIGHT
from tests.apps.sockets import ask, next_message, websocket
from tests.apps.test_mqtt import MOSQUITTO, Broker
from tests.conftest import ROOT

_SHAPES = """
[[shapes]]
name = "middle"
kind = "line"
points = [[0.5, 0.0], [0.5, 1.0]]
[[shapes]]
name = "inner"
kind = "zone"
points = [[0.2, 0.2], [0.8, 0.2], [0.8, 0.8], [0.2, 0.8]]
"""


class Sample(NamedTuple):
    """The app at one time.

    Attributes:
        seconds: Since the start.
        rss_mb: Resident memory, MiB.
        threads: Number of them.
        files: Open file descriptors.
        frames: Results so far.
        dropped: Frames left out so far.
        unexplained: Frames the source gave that are neither results, nor left out for a reason that is told, nor, as
            far as there may be some, in flight.
    """

    seconds: float
    rss_mb: float
    threads: int
    files: int
    frames: int
    dropped: int
    unexplained: int = 0


class Growth(NamedTuple):
    """From the first third, its beginning left out, to the last one: medians."""

    rss_mb: float
    threads: float
    files: float


def growth(samples: Sequence[Sample]) -> Growth:
    """How much larger the app was at the end."""
    third = max(1, len(samples) // 3)
    early, late = samples[third // 2 : third + third // 2 + 1], samples[-third:]
    middle = [
        statistics.median(getattr(sample, name) for sample in part)
        for name in ("rss_mb", "threads", "files")
        for part in (early, late)
    ]
    return Growth(middle[1] - middle[0], middle[3] - middle[2], middle[5] - middle[4])


def sample(pid: int, address: str, begin: float) -> Sample:
    """Looks once."""
    text = Path(f"/proc/{pid}/status").read_text()
    rss, threads = (int(re.findall(rf"^{name}:\s*(\d+)", text, re.MULTILINE)[0]) for name in ("VmRSS", "Threads"))
    files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    figures = ask(address, "/api/state")["figures"]
    seconds = time.monotonic() - begin
    return Sample(seconds, rss / 1024, threads, files, figures["frames"], figures["dropped"], unexplained(figures))


def unexplained(figures: dict[str, Any]) -> int:
    """By how many frames the sum is wrong: captured = results + left out + in flight."""
    flying: int = figures["captured"] - figures["frames"] - sum(figures["left_out"].values())
    told: int = figures["in_flight"]
    return abs(flying - min(max(flying, 0), MOST_IN_FLIGHT)) + abs(flying - told)


@contextlib.contextmanager
def app(model: Path, source: str, folder: Path, segment_s: float) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The app with everything switched on, and its page's address."""
    (folder / "shapes.toml").write_text(_SHAPES)
    arguments = ["--media", folder / "media", "--record", "--segment", segment_s, "--quota", 50, "--clip-after", 1]
    arguments += ["--state", folder / "state.json", "--config", folder / "shapes.toml"]
    with contextlib.ExitStack() as stack:
        outputs = ["http://127.0.0.1:0"]
        if MOSQUITTO:
            broker = Broker(folder)
            stack.callback(broker.kill)
            broker.start()
            outputs.append(f"mqtt://127.0.0.1:{broker.port}/soak")
        command = [sys.executable, "-m", "apps.live", model, source, *outputs, *arguments]
        process = subprocess.Popen([*map(str, command)], stderr=subprocess.PIPE, text=True, cwd=ROOT)
        try:
            assert process.stderr
            found = re.search(r"http://([^/ ]+)", process.stderr.readline())
            assert found, "the app did not start"
            yield process, found[1]
        finally:
            process.terminate()
            process.communicate(timeout=30)


def watch(address: str, over: threading.Event) -> None:
    """A viewer that takes every picture it can."""
    with contextlib.closing(websocket(address)) as page, contextlib.suppress(OSError):
        while not over.is_set():
            next_message(page)


def soak(
    model: Path, source: str, seconds: float, every: float, segment_s: float = 60.0, show: bool = False
) -> list[Sample]:
    """Runs the app for some seconds and looks at it again and again."""
    samples: list[Sample] = []
    over = threading.Event()
    with tempfile.TemporaryDirectory() as name, app(model, source, Path(name), segment_s) as (process, address):
        viewer = threading.Thread(target=watch, args=(address, over), daemon=True)
        viewer.start()
        begin = time.monotonic()
        try:
            while (passed := time.monotonic() - begin) < seconds:
                time.sleep(max(0.0, min(every * (len(samples) + 1), seconds) - passed))
                samples.append(sample(process.pid, address, begin))
                if show:
                    print(_line(samples), flush=True)
        finally:
            over.set()
            viewer.join(10)
    return samples


def _line(samples: Sequence[Sample]) -> str:
    now = samples[-1]
    before = samples[-2] if len(samples) > 1 else Sample(0, 0, 0, 0, 0, 0)
    rate = (now.frames - before.frames) / (now.seconds - before.seconds)
    return (
        f"{now.seconds:7.0f} s  {now.rss_mb:7.1f} MiB  {now.threads:3} threads  {now.files:3} files  "
        f"{rate:5.1f} results/s  {now.dropped} dropped"
    )


def main() -> int:
    """Runs it as asked on the command line; 1 when the app grew or frames are missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--source", default="synthetic://cards")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--every", type=float, default=10, metavar="S")
    parser.add_argument("--limit", type=float, default=5, metavar="MB", help="most growth of resident memory")
    arguments = parser.parse_args()
    samples = soak(arguments.model, arguments.source, 60 * arguments.minutes, arguments.every, show=True)
    grown = growth(samples)
    print(f"growth: {grown.rss_mb:+.1f} MiB, {grown.threads:+g} threads, {grown.files:+g} files")
    wrong = max(one.unexplained for one in samples)
    print(f"frames: {wrong} unexplained")
    return int(grown.rss_mb > arguments.limit or grown.threads > 0 or grown.files > 0 or wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
