"""Facts about the machine: processor, heat, throttling, memory."""

from __future__ import annotations

import contextlib
import platform
import re
import shutil
import subprocess
from pathlib import Path

from runtime.values import value

HOT_CELSIUS = 80.0
"""A Raspberry Pi lowers its clock from here on."""
# What the bits of ``vcgencmd get_throttled`` mean, from bit 0 for now and from bit 16 for some time since the start
# (https://www.raspberrypi.com/documentation/computers/os.html#get_throttled).
_THROTTLES = ("under-voltage", "frequency capped", "throttled", "soft temperature limit")
_SINCE_BOOT = 16
# Where the kernel tells of heat and clock; tests have one of their own.
SYSFS = Path("/sys")


@value
class Throttle:
    """What slows a Raspberry Pi down.

    Attributes:
        now: At this moment: any of ``under-voltage``, ``frequency capped``, ``throttled``, ``soft temperature limit``.
        since_boot: At some time since the board was started.
    """

    now: tuple[str, ...]
    since_boot: tuple[str, ...]

    @classmethod
    def decode(cls, bits: int) -> Throttle:
        """From the number that ``vcgencmd get_throttled`` prints."""
        now, since = (
            tuple(name for bit, name in enumerate(_THROTTLES) if bits >> first + bit & 1) for first in (0, _SINCE_BOOT)
        )
        return cls(now, since)

    def to_dict(self) -> dict[str, list[str]]:
        """Plain data for JSON."""
        return {"now": list(self.now), "since_boot": list(self.since_boot)}


def cpu_name() -> str:
    """The processor, as the kernel names it; on a Raspberry Pi with the board's name in front."""
    board = read("/proc/device-tree/model").strip("\0 \n")
    found = re.search(r"^model name\s*:\s*(.+)$", read("/proc/cpuinfo"), re.MULTILINE)
    name = found.group(1) if found else platform.processor() or platform.machine()
    return f"{board} ({name})" if board else name


def cpu_features() -> list[str]:
    """The instruction-set extensions that decide how fast int8 is, as far as this processor has them."""
    wanted = ("asimd", "asimddp", "i8mm", "sve", "neon", "avx2", "avx512_vnni", "avx_vnni", "amx_int8")
    found = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", read("/proc/cpuinfo"), re.MULTILINE)
    present = set(found.group(1).split()) if found else set()
    return [name for name in wanted if name in present]


def throttle() -> Throttle | None:
    """What slows this Raspberry Pi down; ``None`` where nothing tells."""
    if not shutil.which("vcgencmd"):
        return None
    try:
        done = subprocess.run(["vcgencmd", "get_throttled"], capture_output=True, text=True, timeout=5, check=False)
        return Throttle.decode(int(done.stdout.partition("=")[2], 16))
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None


def temperature() -> float | None:
    """Processor temperature in degrees Celsius; ``None`` where nothing tells."""
    try:
        return int(read(SYSFS / "class/thermal/thermal_zone0/temp")) / 1000
    except ValueError:
        return None


def frequency() -> float | None:
    """Clock of the first core in MHz at this moment; ``None`` where nothing tells."""
    try:
        return int(read(SYSFS / "devices/system/cpu/cpu0/cpufreq/scaling_cur_freq")) / 1000
    except ValueError:
        return None


def free_memory_mb() -> float | None:
    """Memory that programs can still have, in MiB; ``None`` where nothing tells."""
    found = re.search(r"^MemAvailable:\s*(\d+) kB", read("/proc/meminfo"), re.MULTILINE)
    return int(found.group(1)) / 1024 if found else None


def reset_peak_rss() -> None:
    """Starts a new peak for :func:`peak_rss_mb`, where the kernel allows it."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_rss_mb() -> float:
    """Most resident memory of this process so far, in MiB."""
    found = re.search(r"^VmHWM:\s*(\d+) kB", read("/proc/self/status"), re.MULTILINE)
    return int(found.group(1)) / 1024 if found else 0.0


def read(path: str | Path) -> str:
    """The text of one of the kernel's small files; empty where there is none."""
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""
