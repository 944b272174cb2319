"""Emulated boards for tests. ``make test`` has the user-lands; ``make test-arm`` the whole machines as well."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.arm.boards import UserLand, needs
from tests.arm.boards.cache import kept, sources
from tests.conftest import ROOT

# What decides the file that is quantised, and with which pictures.
_TINY_BY = (ROOT / "tests" / "conftest.py", ROOT / "tests" / "nets.py")


@pytest.fixture(scope="session")
def user_land(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., UserLand]]:
    """A started user-land of a Raspberry Pi 4 with a release, the same one for all tests that ask for it."""
    skip_where(needs.user_land())
    with ExitStack() as running:

        @functools.cache
        def board(suite: str, over: tuple[Path, ...] = ()) -> UserLand:
            return running.enter_context(UserLand(tmp_path_factory.mktemp(suite), suite, over=over))

        yield board


@pytest.fixture(params=["bookworm", "trixie"])
def pi(request: pytest.FixtureRequest, user_land: Callable[..., UserLand]) -> UserLand:
    """The user-land of each release in turn."""
    return user_land(request.param)


@pytest.fixture(scope="session")
def kept_tiny(request: pytest.FixtureRequest) -> Path:
    """``tiny_model``, the same file as long as it would be built alike: what is kept elsewhere is known by it."""

    def build(target: Path) -> None:
        shutil.copy(request.getfixturevalue("tiny_model"), target)

    return kept("model-tiny", [*sources("convert", "runtime"), *_TINY_BY], build)


def skip_where(lack: str) -> None:
    """Skips, with the reason, where this machine lacks something."""
    if lack:
        pytest.skip(lack)
