"""What viewers cost: ``python -m tests.apps.bench_viewers``.

Runs the live app on drawn scenes, in turns: without the web output, with it and nobody watching, with N pages and with
N readers of the MJPEG stream. Viewers are bare sockets in another process, so the figures hold what the server does for
them and what receiving costs, but no drawing.
"""

from __future__ import annotations

import argparse
import os
import re
import selectors
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.apps.sockets import ask, masked, websocket
from tests.conftest import ROOT

_TICKS = os.sysconf("SC_CLK_TCK")


def watch(address: str, pages: int, streams: int) -> None:
    """Watches until killed: pages ask for the next picture once they have one, streams just read."""
    chosen = selectors.DefaultSelector()
    for _ in range(pages):
        page = websocket(address)
        page.sendall(masked(b"next"))
        chosen.register(page, selectors.EVENT_READ, [0, True])
    for _ in range(streams):
        host, port = address.split(":")
        stream = socket.create_connection((host, int(port)))
        stream.sendall(f"GET /stream.mjpg HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
        chosen.register(stream, selectors.EVENT_READ, [0, False])
    print("watching", flush=True)
    while True:
        for key, _ in chosen.select():
            reader: socket.socket = key.fileobj  # type: ignore[assignment]
            data = reader.recv(1 << 18)
            if not data:
                return
            state = key.data
            if state[1]:
                _took(reader, data, state)


def _took(page: socket.socket, data: bytes, state: list[int]) -> None:
    """Counts down what is missing of a page's message, and asks again when it is there."""
    if not state[0]:
        length = data[1]
        head = 4 if length == 126 else 10 if length == 127 else 2
        state[0] = head + (length if head == 2 else int.from_bytes(data[2:head], "big"))
    state[0] -= len(data)
    if state[0] <= 0:
        state[0] = 0
        page.sendall(masked(b"next"))


def cpu_s(pid: int) -> float:
    """Processor seconds of a process so far."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


@contextmanager
def live(model: str, source: str, web: bool) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The app; its address, if it has a page."""
    outputs = ["json:///dev/null", *(["http://127.0.0.1:0"] if web else [])]
    command = [sys.executable, "-m", "apps.live", model, source, *outputs, "--no-governor", "--pace", "fast"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        address = ""
        if web:
            assert process.stderr
            found = re.search(r"http://([^/ ]+)", process.stderr.readline())
            assert found
            address = found[1]
        yield process, address
    finally:
        process.terminate()
        process.communicate(timeout=20)


def round_of(model: str, source: str, kind: str, viewers: int, seconds: float) -> tuple[float, float]:
    """One run.

    Returns:
        Results per second, ``nan`` without the web output; processor seconds of the app per second.
    """
    with live(model, source, kind != "off") as (process, address):
        watcher = None
        try:
            if kind in ("pages", "streams"):
                pages, streams = (viewers, 0) if kind == "pages" else (0, viewers)
                command = [
                    sys.executable,
                    "-m",
                    "tests.apps.bench_viewers",
                    "--watch",
                    address,
                    str(pages),
                    str(streams),
                ]
                watcher = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT)
                assert watcher.stdout
                watcher.stdout.readline()
            time.sleep(2.5)
            begin, cpu, frames = time.monotonic(), cpu_s(process.pid), _frames(address)
            time.sleep(seconds)
            frames, cpu = _frames(address) - frames, cpu_s(process.pid) - cpu
            passed = time.monotonic() - begin
        finally:
            if watcher:
                watcher.kill()
                watcher.communicate()
    return frames / passed, cpu / passed


def _frames(address: str) -> float:
    return float(ask(address, "/api/state")["figures"]["frames"]) if address else float("nan")


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="build/models/playing-cards.tflite")
    parser.add_argument("--source", default="synthetic://cards", help="with ?fps=0 as fast as possible")
    parser.add_argument("--viewers", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kinds", default="off,none,pages,streams")
    parser.add_argument("--watch", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.watch:
        watch(given.watch[0], int(given.watch[1]), int(given.watch[2]))
        return
    kinds = given.kinds.split(",")
    runs: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
    for number in range(given.rounds):
        # The other way round every second time, so that a machine that warms up favours nobody.
        for kind in kinds if number % 2 == 0 else kinds[::-1]:
            runs[kind].append(round_of(given.model, given.source, kind, given.viewers, given.seconds))
    print(f"{'':10}{'results/s':>12}{'CPU s/s':>12}   (median of {given.rounds} runs of {given.seconds:g} s)")
    for kind, results in runs.items():
        rate, cpu = (statistics.median(values) for values in zip(*results, strict=True))
        print(f"{kind:10}{rate:12.2f}{cpu:12.3f}   {' '.join(f'{one:.2f}/{two:.3f}' for one, two in results)}")


if __name__ == "__main__":
    main()
