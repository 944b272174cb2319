"""Options of glibc's allocator, by the numbers of its ``malloc.h``."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping

TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD, MMAP_MAX, ARENA_MAX = -1, -2, -3, -4, -8


def set_options(options: Mapping[int, int]) -> None:
    """Sets options for this process, in their order; nothing where there is no glibc (mallopt(3))."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        for option, value in options.items():
            mallopt(option, value)
