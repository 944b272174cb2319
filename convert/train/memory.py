"""Memory that stays with the process."""

from __future__ import annotations

import ctypes

# glibc's malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8
_NEVER, _AHEAD = -1, 64 << 20


def keep_memory() -> None:
    """Lets freed memory be used again instead of going back to the system; nothing where there is no glibc.

    A training step allocates and frees tensors of tens of megabytes. Each comes back as fresh pages, which the system
    fills with zeros first: that took a third of the time of a step.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        for option, value in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _NEVER), (_TOP_PAD, _AHEAD), (_ARENA_MAX, 1)):
            mallopt(option, value)
