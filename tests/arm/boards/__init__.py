"""Emulated boards: a user-land under qemu-user behind a real sshd, and whole machines under qemu-system.

They share one face, :class:`tests.arm.boards.board.Board`: an address, a client configuration, commands over ssh.
Nothing of a board outlives the process that started it, not even where that is killed: the mounts live in a namespace
of their own, and the kernel ends the board's first process with its parent.
"""

from tests.arm.boards.board import Board
from tests.arm.boards.cores import CORES, Core
from tests.arm.boards.machine import Machine
from tests.arm.boards.userland import UserLand

__all__ = ["CORES", "Board", "Core", "Machine", "UserLand"]
