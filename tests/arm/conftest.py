"""Emulated boards for tests. ``make test`` has the user-lands; ``make test-arm`` the whole machines as well."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.arm.boards import Machine, UserLand, needs, packages


@pytest.fixture(scope="session")
def user_land(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., UserLand]]:
    """A started user-land of a Raspberry Pi 4 with a release, the same one for all tests that ask for it."""
    skip_where(needs.user_land())
    with ExitStack() as running:

        @functools.cache
        def board(suite: str, over: Path | None = None) -> UserLand:
            return running.enter_context(UserLand(tmp_path_factory.mktemp(suite), suite, over=over))

        yield board


@pytest.fixture(params=["bookworm", "trixie"])
def pi(request: pytest.FixtureRequest, user_land: Callable[..., UserLand]) -> UserLand:
    """The user-land of each release in turn."""
    return user_land(request.param)


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A booted machine of its own: systemd, a camera, two ports; on its disk the packages that an earlier run left."""
    skip_where(needs.machine())
    with Machine(tmp_path_factory.mktemp("machine"), disk=packages.disk()) as booted:
        yield booted


def skip_where(lack: str) -> None:
    """Skips, with the reason, where this machine lacks something."""
    if lack:
        pytest.skip(lack)
