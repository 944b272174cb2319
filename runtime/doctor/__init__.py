"""Checks of the machine, each with the line that fixes it."""

from __future__ import annotations

from collections.abc import Callable

from runtime.doctor import hardware, software
from runtime.doctor.check import Check
from runtime.doctor.selftest import SELF_TEST_MODEL, run_self_test, self_test_facts

__all__ = ["SELF_TEST_MODEL", "Check", "examine", "self_test_facts"]


def examine(*, apart: bool = True) -> list[Check]:
    """Runs all checks; none of them raises.

    Args:
        apart: In a process of its own for what may end it: an interpreter built for another processor. Who is such a
            process already needs no other.
    """
    self_test = run_self_test() if apart else self_test_facts()
    checks: list[Callable[[], Check]] = [
        software.python,
        lambda: software.interpreter(self_test),
        lambda: software.wheel(self_test),
        lambda: software.xnnpack(self_test),
        lambda: software.threads(self_test),
        software.opencv,
        hardware.processor,
        hardware.memory,
        hardware.disk,
        hardware.camera,
        hardware.permissions,
        hardware.csi_camera,
        hardware.heat,
        hardware.power,
    ]
    return [check() for check in checks]
