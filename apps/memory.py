"""How the C library's memory is kept in a program that runs for weeks."""

from __future__ import annotations

from runtime import malloc

# Above a picture of 1280x720, which is used again at once, and below the buffers of a video encoder.
_LARGE = 3500 << 10


def give_back_what_is_large() -> None:
    """Has large blocks go back to the system when they are freed; nothing where there is no glibc.

    By itself glibc learns from the first large blocks that are freed to keep such blocks among the small ones. Every
    recording and clip opens an encoder, whose buffers then never fit the gaps that the last one left: a session grew by
    40 MB within minutes.
    """
    malloc.set_options({malloc.MMAP_THRESHOLD: _LARGE, malloc.TRIM_THRESHOLD: 2 * _LARGE})
