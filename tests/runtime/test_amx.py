"""The matrix unit of x86 servers: kept from narrow networks, without a trace and without another result."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from runtime import amx
from runtime.engine import Engine
from runtime.errors import InputError

_LINUX_X86 = sys.platform == "linux" and platform.machine() == "x86_64"
pytestmark = pytest.mark.skipif(not _LINUX_X86, reason="no x86-64 Linux")

# Asks for what the kernel granted: bit 18 is the unit's tile data.
_RUN = """
import ctypes, sys
from pathlib import Path
import numpy as np
from runtime.engine import Engine
engine = Engine(Path(sys.argv[1]))
view = engine.input_view()
view[...] = np.random.default_rng(1).integers(-128, 128, view.shape, np.int8)
del view
engine.invoke()
granted = ctypes.c_uint64()
ctypes.CDLL(None).syscall(158, 0x1022, ctypes.byref(granted))
sys.stdout.buffer.write(bytes([granted.value >> 18 & 1]))
for index in range(len(engine.outputs)):
    sys.stdout.buffer.write(engine.output_view(index).tobytes())
"""

_STACKS = """
import ctypes, sys
from pathlib import Path
from runtime import amx

def tell():
    stack = amx._stack(None, 0, 0)
    ctypes.CDLL(None).sigaltstack(None, ctypes.byref(stack))
    print((stack.address, stack.flags, stack.size))

tell()
with amx.only_if_it_suits(Path(sys.argv[1])):
    tell()
tell()
"""


def _run(model: Path, choice: str) -> tuple[bool, bytes]:
    environment = os.environ | {"EDGEWREN_AMX": choice}
    output = subprocess.run(
        [sys.executable, "-c", _RUN, str(model)], env=environment, capture_output=True, check=True
    ).stdout
    return bool(output[0]), output[1:]


def test_a_process_is_refused_the_unit_and_finds_the_same(tiny_model: Path) -> None:
    has_unit = "amx_int8" in Path("/proc/cpuinfo").read_text()
    granted, with_unit = _run(tiny_model, "on")
    refused, without = _run(tiny_model, "off")
    assert (granted, refused) == (has_unit, False)
    assert len(without) > 100
    assert with_unit == without


def test_the_signal_stack_is_as_it_was(tiny_model: Path) -> None:
    # In a process of its own: one that has the unit already may not set a small stack.
    command = [sys.executable, "-c", _STACKS, str(tiny_model)]
    environment = os.environ | {"EDGEWREN_AMX": "off"}
    before, within, after = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert within.endswith(", 8192)")
    assert before == after != within


@pytest.mark.parametrize(
    ("size", "choice", "expected"),
    [(1 << 20, "", False), (3 << 20, "", True), (1 << 20, "on", True), (3 << 20, "off", False)],
)
def test_the_choice(size: int, choice: str, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEWREN_AMX", choice)
    model = tmp_path / "m.tflite"
    model.write_bytes(bytes(size))
    assert amx.suits(model) is expected


def test_another_word_is_refused(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEWREN_AMX", "yes")
    with pytest.raises(InputError, match=r"EDGEWREN_AMX is 'yes'.*expected on or off"):
        Engine(tiny_model)
