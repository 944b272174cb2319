"""Memory that stays with the process."""

from __future__ import annotations

from runtime import malloc

_NEVER, _AHEAD = -1, 64 << 20


def keep_memory() -> None:
    """Lets freed memory be used again instead of going back to the system; nothing where there is no glibc.

    A training step allocates and frees tensors of tens of megabytes. Each comes back as fresh pages, which the system
    fills with zeros first: that took a third of the time of a step.
    """
    malloc.set_options({malloc.MMAP_MAX: 0, malloc.TRIM_THRESHOLD: _NEVER, malloc.TOP_PAD: _AHEAD, malloc.ARENA_MAX: 1})
