"""Facts about the machine: processor, heat, throttling, memory."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

# Bits of ``vcgencmd get_throttled`` that are true now: under-voltage, capped frequency, throttled, soft temperature.
_THROTTLED_NOW = 0xF


def cpu_name() -> str:
    """The processor, as the kernel names it; on a Raspberry Pi with the board's name in front."""
    board = _read("/proc/device-tree/model").strip("\0 \n")
    found = re.search(r"^model name\s*:\s*(.+)$", _read("/proc/cpuinfo"), re.MULTILINE)
    name = found.group(1) if found else platform.processor() or platform.machine()
    return f"{board} ({name})" if board else name


def cpu_features() -> list[str]:
    """The instruction-set extensions that decide how fast int8 is, as far as this processor has them."""
    wanted = ("asimd", "asimddp", "i8mm", "sve", "neon", "avx2", "avx512_vnni", "avx_vnni", "amx_int8")
    found = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", _read("/proc/cpuinfo"), re.MULTILINE)
    present = set(found.group(1).split()) if found else set()
    return [name for name in wanted if name in present]


def throttled() -> bool | None:
    """Whether a Raspberry Pi is slowed down by heat or a weak supply right now; ``None`` where nothing tells."""
    if not shutil.which("vcgencmd"):
        return None
    try:
        done = subprocess.run(["vcgencmd", "get_throttled"], capture_output=True, text=True, timeout=5, check=False)
        return bool(int(done.stdout.partition("=")[2], 16) & _THROTTLED_NOW)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None


def temperature() -> float | None:
    """Processor temperature in degrees Celsius; ``None`` where nothing tells."""
    try:
        return int(_read("/sys/class/thermal/thermal_zone0/temp")) / 1000
    except ValueError:
        return None


def reset_peak_rss() -> None:
    """Starts a new peak for :func:`peak_rss_mb`, where the kernel allows it."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_rss_mb() -> float:
    """Most resident memory of this process so far, in MiB."""
    found = re.search(r"^VmHWM:\s*(\d+) kB", _read("/proc/self/status"), re.MULTILINE)
    return int(found.group(1)) / 1024 if found else 0.0


def available_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""
