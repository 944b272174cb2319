"""Whether XNNPACK may use an x86 server's matrix unit (AMX).

Its kernels fill tiles of 64 channels. Narrow networks leave most of a tile empty and are slower with it than with
vector instructions, wide ones are faster. The interpreter has no switch, and XNNPACK decides once per process: it asks
Linux for the unit's registers when the first network is prepared. Linux refuses while a signal stack is set that could
not hold them (https://docs.kernel.org/arch/x86/xstate.html), so for a narrow network a small one is set at that moment.
The first network of a process decides for the others. No board has the unit; on all but x86-64 nothing is done.
"""

from __future__ import annotations

import contextlib
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runtime.errors import InputError

# A network this small has narrow layers: measured in docs/speed.md, "Beside other programs".
_NARROW_BYTES = 2 << 20
# Room for a signal's frame with AVX-512, which takes about 3.6 kB, and less than the 11 kB of one with AMX.
_STACK_BYTES = 8 << 10
_CHOICE = "EDGEWREN_AMX"


def suits(model: Path) -> bool:
    """Whether the unit pays for a model file; ``EDGEWREN_AMX`` set to ``on`` or ``off`` decides for all.

    Args:
        model: A readable file.

    Raises:
        InputError: ``EDGEWREN_AMX`` is something else.
    """
    chosen = os.environ.get(_CHOICE)
    if not chosen:
        return model.stat().st_size >= _NARROW_BYTES
    if chosen not in ("on", "off"):
        raise InputError(f"{_CHOICE} is {chosen!r}", "expected on or off", f"unset {_CHOICE}")
    return chosen == "on"


@contextlib.contextmanager
def only_if_it_suits(model: Path) -> Iterator[None]:
    """Within, a first network is prepared without the unit where it does not pay.

    Args:
        model: A readable file.

    Raises:
        InputError: As :func:`suits`.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64" or suits(model):
        yield
        return
    import ctypes

    sigaltstack: Any = ctypes.CDLL(None, use_errno=True).sigaltstack
    memory, before = ctypes.create_string_buffer(_STACK_BYTES), _stack(None, 0, 0)
    if sigaltstack(ctypes.byref(_stack(ctypes.addressof(memory), 0, _STACK_BYTES)), ctypes.byref(before)):
        yield  # Running on a signal stack: then it stays as it is, and the network is only slower.
        return
    try:
        yield
    finally:
        sigaltstack(ctypes.byref(before), None)


def _stack(address: int | None, flags: int, size: int) -> Any:
    """The C library's ``stack_t``."""
    import ctypes

    class Stack(ctypes.Structure):
        _fields_ = (("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))

    return Stack(address, flags, size)
