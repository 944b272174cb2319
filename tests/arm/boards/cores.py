"""The processors that are emulated, and how a board's kernel would describe them."""

from __future__ import annotations

import os
from dataclasses import dataclass

_COMMON = "fp asimd evtstrm crc32 cpuid"
_V8_2 = "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"


@dataclass(frozen=True)
class Core:
    """One processor.

    Attributes:
        name: As QEMU spells it.
        board: The Raspberry Pi that has it.
        part, variant, revision: The fields of ``/proc/cpuinfo`` by which libraries choose their kernels.
        features: What they may use.
    """

    name: str
    board: str
    part: str
    variant: str
    revision: int
    features: str

    def cpuinfo(self) -> str:
        """``/proc/cpuinfo`` of a board with as many of these cores as this machine has."""
        one = (
            f"BogoMIPS\t: 108.00\nFeatures\t: {self.features}\nCPU implementer\t: 0x41\nCPU architecture: 8\n"
            f"CPU variant\t: {self.variant}\nCPU part\t: {self.part}\nCPU revision\t: {self.revision}\n"
        )
        each = "".join(f"processor\t: {index}\n{one}\n" for index in range(os.cpu_count() or 1))
        return f"{each}Serial\t\t: 100000000e0d6e01\nModel\t\t: {self.board}\n"


# QEMU's own default (max) computes wrong int8 convolutions in version 7.2, so that a core is always named.
CORES = {
    core.name: core
    for core in (
        Core("cortex-a53", "Raspberry Pi 3 Model B Plus Rev 1.3", "0xd03", "0x0", 4, _COMMON),
        Core("cortex-a72", "Raspberry Pi 4 Model B Rev 1.4", "0xd08", "0x0", 3, _COMMON),
        Core("cortex-a76", "Raspberry Pi 5 Model B Rev 1.0", "0xd0b", "0x4", 1, _V8_2),
    )
}
