"""Emulated boards for tests. ``make test`` has the user-lands; ``make test-arm`` the whole machines as well."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.arm.boards import Machine, UserLand, needs


@pytest.fixture(scope="session")
def user_land(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str, str], UserLand]]:
    """A started user-land of a release on a core, the same one for all tests that ask for it."""
    skip_where(needs.user_land())
    started: dict[tuple[str, str], UserLand] = {}
    with ExitStack() as running:

        def board(suite: str, core: str) -> UserLand:
            if (suite, core) not in started:
                folder = tmp_path_factory.mktemp(f"{suite}-{core}")
                started[suite, core] = running.enter_context(UserLand(folder, suite, core))
            return started[suite, core]

        yield board


@pytest.fixture(params=["bookworm", "trixie"])
def pi(request: pytest.FixtureRequest, user_land: Callable[[str, str], UserLand]) -> UserLand:
    """The user-land of a Raspberry Pi 4, of each release in turn."""
    return user_land(request.param, "cortex-a72")


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A booted machine of its own: systemd, a camera, two ports."""
    skip_where(needs.machine())
    with Machine(tmp_path_factory.mktemp("machine")) as booted:
        yield booted


def skip_where(lack: str) -> None:
    """Skips, with the reason, where this machine lacks something."""
    if lack:
        pytest.skip(lack)
