"""The media folder: names, order, quota, restarts, and disks that are full."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.media import MediaStore
from apps.media.ring import JpegRing
from runtime.errors import InputError


def put(store: MediaStore, when: float, size: int = 100) -> str:
    """Stores a snapshot of so many bytes."""
    scratch = store.begin("snapshot", when, ".jpg")
    scratch.write_bytes(b"x" * size)
    return store.commit(scratch).name


def test_newest_first_and_the_same_after_a_restart(tmp_path: Path) -> None:
    store = MediaStore(tmp_path / "new", 10_000, 0)
    names = [put(store, when) for when in (1000.0, 3000.0, 2000.0, 2000.0)]
    assert names[3] == "snapshot-19700101T003320Z-2.jpg"
    (store.folder / "notes.txt").write_text("not ours")
    listed = store.entries()
    assert [media.when for media in listed] == [3000, 2000, 2000, 1000]
    store.close()
    again = MediaStore(store.folder, 10_000, 0)
    assert again.entries() == listed
    again.close()


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../secret", "/etc/passwd", ".lock", "notes.txt", "snapshot-19700101T001640Z-1.jpg/"]
)
def test_only_listed_names_are_found(name: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    store = MediaStore(tmp_path / "media", 10_000, 0)
    (store.folder / "notes.txt").write_text("x")
    known = put(store, 1000.0)
    assert store.find(known) == store.folder / known
    assert store.find(name) is None
    (store.folder / known).unlink()
    (store.folder / known).symlink_to(tmp_path / "secret")
    assert store.find(known) is None
    store.close()


def test_the_oldest_go_first_and_what_grows_stays(tmp_path: Path) -> None:
    store = MediaStore(tmp_path, 1000, 0)
    growing = store.begin("snapshot", 0.0, ".jpg")
    growing.write_bytes(b"x" * 250)
    names = [put(store, when, 200) for when in (30.0, 10.0, 20.0, 40.0, 50.0)]
    # 750 bytes are left: the files of seconds 50, 40 and 30.
    assert [media.name for media in store.entries()] == [names[4], names[3], names[0]]
    growing.write_bytes(b"x" * 900)
    store.make_room()
    assert store.entries() == ()
    assert growing.exists()
    store.close()


def test_files_of_one_second_that_grow_together(tmp_path: Path) -> None:
    store = MediaStore(tmp_path, 10_000, 0)
    growing = [store.begin("recording", 1000.0, ".mp4") for _ in range(3)]
    for scratch in growing:
        scratch.write_bytes(b"x")
    assert len({store.commit(scratch).name for scratch in growing}) == 3
    assert len(store.entries()) == 3
    store.close()


def test_one_program_at_a_time(tmp_path: Path) -> None:
    store = MediaStore(tmp_path, 1000, 0)
    with pytest.raises(InputError, match="in use by another program"):
        MediaStore(tmp_path, 1000, 0)
    store.close()
    MediaStore(tmp_path, 1000, 0).close()


def test_leftovers_that_do_not_play_go(tmp_path: Path) -> None:
    for name in (".growing-recording-19700101T001640Z-1.mp4", ".growing-clip-19700101T001640Z-1.jpg", ".growing-x"):
        (tmp_path / name).write_bytes(b"half")
    store = MediaStore(tmp_path, 1000, 0)
    assert store.entries() == ()
    assert os.listdir(tmp_path) == [".lock"]
    store.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if os.getuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("may not mount a small disk (needs root)")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_nothing_is_begun_on_a_full_disk_and_old_files_stay(small_disk: Path) -> None:
    store = MediaStore(small_disk / "media", 10_000_000, 1_000_000)
    name = put(store, 1000.0)
    (small_disk / "other").write_bytes(b"x" * 1_500_000)
    with pytest.raises(OSError, match="No space left"):
        store.begin("snapshot", 2000.0, ".jpg")
    assert [media.name for media in store.entries()] == [name]
    (small_disk / "other").unlink()
    put(store, 2000.0)
    store.close()


@given(st.lists(st.tuples(st.floats(0, 2), st.integers(0, 400)), max_size=60))
def test_the_ring_is_bounded_and_keeps_the_newest(steps: list[tuple[float, int]]) -> None:
    ring = JpegRing(5.0, 1000)
    happened, all_of_them = 0.0, []
    for step, size in steps:
        happened += step
        ring.add(happened, b"x" * size)
        all_of_them.append((happened, b"x" * size))
        kept = list(ring)
        assert kept == all_of_them[len(all_of_them) - len(kept) :]
        assert ring.bytes == sum(len(picture) for _, picture in kept) <= 1000
        assert kept[0][0] >= happened - 5
        # Nothing goes that might stay.
        if len(kept) < len(all_of_them):
            lost_time, lost = all_of_them[len(all_of_them) - len(kept) - 1]
            assert lost_time < happened - 5 or ring.bytes + len(lost) > 1000
