"""What was there before is there after: the files of a board, one by one."""

from __future__ import annotations

import pytest

from tests.deploy.boards import LightBoard
from tests.deploy.conftest import Bench

pytestmark = pytest.mark.machine

# What Debian's own programs keep of the users before their last change, whatever that was.
_KEPT = [f"etc/{name}-" for name in ("group", "gshadow", "passwd", "shadow")]


@pytest.fixture(scope="module")
def board(bench: Bench) -> LightBoard:
    """One that nothing was deployed to."""
    return bench.board(fresh=True)


@pytest.mark.parametrize("drill", ["release", "switch-started", ""], ids=["cut off early", "cut off late", "whole"])
def test_undeploy_leaves_nothing(bench: Bench, board: LightBoard, drill: str) -> None:
    before = board.written(times=False)
    done = bench.install(board, 0, *(["--drill", drill] if drill else []))
    assert done.returncode == (1 if drill else 0), done.stdout + done.stderr
    assert board.differences(before, times=False) != []
    done = bench.run("undeploy", board.address, "--ssh-config", board.config)
    assert done.returncode == 0, done.stderr
    assert "nothing of Edgewren is left" in done.stdout
    assert [name for name in board.differences(before, times=False) if name not in _KEPT] == []
    assert board.inside("find /run /var/log /var/lib/systemd -iname '*edgewren*'") == ""
    assert board.inside("systemctl list-units --no-legend '*edgewren*'") == ""
    assert board.inside("getent passwd edgewren; getent group edgewren; true") == ""
    again = bench.run("undeploy", board.address, "--ssh-config", board.config)
    assert "nothing was deployed there" in again.stdout
