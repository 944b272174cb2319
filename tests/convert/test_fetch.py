"""Downloads against a real HTTP server on loopback: resumed, pinned, explained."""

from __future__ import annotations

import hashlib
import ssl
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from convert.fetch import fetch_calibration, fetch_file
from convert.recipe import RemoteFolder
from convert.train.recipe import RemoteFile
from runtime.errors import InputError

BODY = bytes(range(256)) * 1000
SHA256 = hashlib.sha256(BODY).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves BODY; ``/cut`` breaks off half-way unless asked for a range, ``/norange`` knows no ranges."""

    requests: ClassVar[list[tuple[str, str | None]]] = []

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.requests.append((self.path, wanted))
        if self.path == "/missing":
            self.send_error(404)
            return
        start = int(wanted.split("=")[1].rstrip("-")) if wanted and self.path != "/norange" else 0
        if start >= len(BODY):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(BODY) - start))
        self.end_headers()
        body = BODY[start:]
        self.wfile.write(body[: len(body) // 2] if self.path == "/cut" and not start else body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Handler.requests.clear()
    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=partial(made.serve_forever, 0.01))
    thread.start()
    yield f"http://127.0.0.1:{made.server_port}"
    made.shutdown()
    thread.join()
    made.server_close()


def remote(url: str, sha256: str = SHA256) -> RemoteFile:
    return RemoteFile("net/file.weights", url, sha256, len(BODY))


def fetch(file: RemoteFile, folder: Path, mirror: Path | None = None) -> Path:
    return fetch_file(file, folder, mirror, lambda message: None)


def test_download_once(server: str, tmp_path: Path) -> None:
    for _ in range(2):
        path = fetch(remote(f"{server}/file"), tmp_path / "sources")
        assert path == tmp_path / "sources" / "file.weights"
        assert path.read_bytes() == BODY
    assert len(Handler.requests) == 1
    assert [entry.name for entry in path.parent.iterdir()] == ["file.weights"]


def test_broken_download_goes_on_where_it_stopped(server: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be reached"):
        fetch(remote(f"{server}/cut"), tmp_path)
    partial_file = tmp_path / "file.weights.download"
    assert partial_file.read_bytes() == BODY[: len(BODY) // 2]
    assert fetch(remote(f"{server}/cut"), tmp_path).read_bytes() == BODY
    assert Handler.requests[-1] == ("/cut", f"bytes={len(BODY) // 2}-")
    assert not partial_file.exists()


@pytest.mark.parametrize(("path", "kept"), [("/norange", 1000), ("/file", len(BODY))])
def test_server_without_ranges_and_complete_remains(path: str, kept: int, server: str, tmp_path: Path) -> None:
    (tmp_path / "file.weights.download").write_bytes(BODY[:kept])
    assert fetch(remote(server + path), tmp_path).read_bytes() == BODY


def test_wrong_bytes_are_never_used(server: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="another sha256"):
        fetch(remote(f"{server}/file", "0" * 64), tmp_path)
    assert not list(tmp_path.iterdir())


def test_wrong_file_in_place_is_replaced(server: str, tmp_path: Path) -> None:
    (tmp_path / "file.weights").write_bytes(b"old")
    assert fetch(remote(f"{server}/file"), tmp_path).read_bytes() == BODY


@pytest.mark.parametrize("place", ["net/file.weights", "zoo/net/file.weights", "data/net/file.weights"])
def test_mirror_first(place: str, server: str, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    (mirror / place).parent.mkdir(parents=True)
    (mirror / place).write_bytes(BODY)
    assert fetch(remote(f"{server}/file"), tmp_path / "sources", mirror).read_bytes() == BODY
    assert Handler.requests == []


def test_mirror_with_another_file(server: str, tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "file.weights").write_bytes(b"other")
    with pytest.raises(InputError, match="has another sha256 than the recipe"):
        fetch(remote(f"{server}/file"), tmp_path / "sources", tmp_path)


@pytest.mark.parametrize("mirror", [False, True])
def test_neither_mirror_nor_network(mirror: bool, tmp_path: Path) -> None:
    where = tmp_path / "empty"
    where.mkdir()
    with pytest.raises(InputError) as caught:
        fetch(remote("http://127.0.0.1:9/file"), tmp_path / "sources", where if mirror else None)
    text = str(caught.value)
    assert "cannot be reached" in text
    assert ("not in" if mirror else "no mirror was given") in text
    assert "give --mirror DIR (make: MIRROR=DIR)" in text


def test_server_says_no(server: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be reached.*Not Found"):
        fetch(remote(f"{server}/missing"), tmp_path)


def test_mirror_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        fetch(remote("http://127.0.0.1:9/file"), tmp_path, tmp_path / "nowhere")


def test_connection_that_breaks_below_the_protocol_is_no_full_disk(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(*_: object) -> Iterator[bytes]:
        raise ssl.SSLError(1, "bad record mac")

    monkeypatch.setattr("convert.fetch._receive", broken)
    with pytest.raises(InputError, match="cannot be reached"):
        fetch(remote("https://127.0.0.1:9/file"), tmp_path)


def bring(folder: Path, url: str, mirror: Path | None = None) -> Path:
    (folder / "pins.sha256").write_text(f"{SHA256}  a.jpg\n{SHA256}  b.jpg\n")
    pictures = RemoteFolder("set/images", url, "pins.sha256")
    return fetch_calibration(folder / "pins.sha256", pictures, folder / "cache", mirror, lambda message: None)


def mirrored(folder: Path) -> Path:
    """The pinned pictures in ``data/`` beside a mirror."""
    pictures = folder / "data" / "set" / "images"
    pictures.mkdir(parents=True)
    (folder / "zoo").mkdir()
    for name in ("a.jpg", "b.jpg"):
        (pictures / name).write_bytes(BODY)
    return pictures


def test_calibration_pictures_are_brought_once(server: str, tmp_path: Path) -> None:
    for _ in range(2):
        folder = bring(tmp_path, server)
        assert sorted(path.name for path in folder.iterdir()) == ["a.jpg", "b.jpg"]
    assert [path for path, _ in Handler.requests] == ["/a.jpg", "/b.jpg"]


def test_calibration_pictures_of_a_mirror_are_used_in_place(tmp_path: Path) -> None:
    pictures = mirrored(tmp_path)
    assert bring(tmp_path, "http://127.0.0.1:9", tmp_path / "zoo") == pictures


@pytest.mark.parametrize(
    ("name", "body", "seen"),
    [
        ("a.jpg", b"other", "a.jpg is missing or changed"),
        ("b.jpg", None, "b.jpg is missing or changed"),
        ("c.jpg", BODY, "c.jpg is not in the recipe's list"),
    ],
)
def test_other_calibration_pictures_of_a_mirror_are_never_used(
    name: str, body: bytes | None, seen: str, tmp_path: Path
) -> None:
    path = mirrored(tmp_path) / name
    if body is None:
        path.unlink()
    else:
        path.write_bytes(body)
    with pytest.raises(InputError, match=f"{seen}; expected the 2 images the recipe lists"):
        bring(tmp_path, "http://127.0.0.1:9", tmp_path / "zoo")
