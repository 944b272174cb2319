"""What a power cut may find on a board's disk: everything whole, or not there."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import pytest

from deploy.board import layout, services, store
from deploy.board.bundle import Manifest
from deploy.board.layout import building, discard, is_complete, link, releases, remove, write


@pytest.fixture
def order(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is brought to the disk and which names change, in order; with a file goes its size."""
    seen: list[str] = []
    fsync, replace, unlink, sync = os.fsync, os.replace, os.unlink, os.sync

    def synced(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        seen.append(f"disk {path.name}/" if path.is_dir() else f"disk {path.name} {path.stat().st_size}")
        fsync(descriptor)

    def replaced(old: Path, new: Path) -> None:
        seen.append(f"name {new.name}")
        replace(old, new)

    def unlinked(path: Path, **more: int) -> None:
        seen.append(f"gone {Path(path).name}")
        unlink(path, **more)

    def all_synced() -> None:
        seen.append("disk everything")
        sync()

    for name, function in {"fsync": synced, "replace": replaced, "unlink": unlinked, "sync": all_synced}.items():
        monkeypatch.setattr(os, name, function)
    return seen


def test_a_file_is_on_the_disk_before_its_name(tmp_path: Path, order: list[str]) -> None:
    here = os.getuid(), os.getgid()
    write(tmp_path / "note", b"12345", 0o600, here)
    found = (tmp_path / "note").stat()
    assert (found.st_mode & 0o777, (found.st_uid, found.st_gid)) == (0o600, here)
    known = [line for line in order if "gone" not in line]
    assert known == ["disk .note.part 5", "name note", f"disk {tmp_path.name}/"]


def test_a_link_moves_in_one_step(tmp_path: Path, order: list[str]) -> None:
    for target in ("first", "second"):
        order.clear()
        link(tmp_path / "current", target)
        assert os.readlink(tmp_path / "current") == target
        assert [line for line in order if "gone" not in line] == ["name current", f"disk {tmp_path.name}/"]


def test_what_is_removed_stays_so(tmp_path: Path, order: list[str]) -> None:
    (tmp_path / "note").touch()
    remove(tmp_path / "note")
    assert order == ["gone note", f"disk {tmp_path.name}/"]


def test_a_folder_is_complete_only_with_all_its_files(tmp_path: Path, order: list[str]) -> None:
    folder = tmp_path / "part"
    with building(folder):
        (folder / "file").write_bytes(b"1")
        assert not is_complete(folder)
    assert is_complete(folder)
    known = [line for line in order if "gone" not in line]
    assert known == ["disk everything", "disk ..complete.part 0", "name .complete", "disk part/"]


def test_what_was_begun_is_made_anew(tmp_path: Path) -> None:
    folder = tmp_path / "part"
    with suppress(KeyboardInterrupt), building(folder):
        (folder / "left over").touch()
        raise KeyboardInterrupt
    assert not is_complete(folder)
    with building(folder):
        (folder / "file").touch()
    assert sorted(path.name for path in folder.iterdir()) == [".complete", "file"]


def test_a_folder_that_is_half_gone_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its mark goes first: were it the last, the next release would build on what is left."""
    folder = tmp_path / "part"
    with building(folder):
        (folder / "file").touch()
    with monkeypatch.context() as cut:
        cut.setattr(shutil, "rmtree", _power_cut)
        with pytest.raises(KeyboardInterrupt):
            discard(folder)
    assert (folder / "file").exists()
    assert not is_complete(folder)
    discard(folder)
    discard(folder)
    assert not folder.exists()


def _power_cut(*ignored: object, **more: object) -> None:
    raise KeyboardInterrupt


@pytest.fixture
def four(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A board's folder with four releases, each with a model of its own."""
    for module in (store, layout):
        monkeypatch.setattr(module, "RELEASES", tmp_path / "releases")
    monkeypatch.setattr(store, "STORE", tmp_path / "store")
    for age in range(4):
        manifest = Manifest(f"r{age}", "1", "p", "c", f"{age}" * 64, "m.tflite", False, 0, "", {})
        with building(tmp_path / "releases" / f"r{age}") as folder:
            (folder / "release.json").write_text(json.dumps(asdict(manifest)))
        os.utime(tmp_path / "releases" / f"r{age}" / ".complete", (age, age))
        for name in ("packages-p", "code-c", f"model-{f'{age}' * 16}"):
            with building(tmp_path / "store" / name):
                pass
    return tmp_path


def test_an_old_release_that_is_half_gone_is_none_to_go_back_to(four: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as cut:
        cut.setattr(shutil, "rmtree", _power_cut)
        with pytest.raises(KeyboardInterrupt):
            store.prune(3, {"r3"})
    assert (four / "releases" / "r0" / "release.json").exists()
    assert releases() == ["r1", "r2", "r3"]
    store.prune(3, {"r3"})
    assert sorted(path.name for path in (four / "releases").iterdir()) == ["r1", "r2", "r3"]
    assert len(list((four / "store").iterdir())) == 5


def test_services_of_releases_that_are_gone_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "UNITS", tmp_path)
    (tmp_path / "there").touch()
    (tmp_path / "edgewren@there.service").symlink_to("there")
    (tmp_path / "edgewren@gone.service").symlink_to("gone")
    services.forget_gone()
    assert sorted(path.name for path in tmp_path.glob("*.service")) == ["edgewren@there.service"]
