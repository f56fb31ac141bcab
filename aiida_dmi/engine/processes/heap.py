"""Memory of the batches: how large they may be, and keeping the heap between them."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
_LARGEST_MMAP_THRESHOLD = 32 * 1024**2  # glibc refuses more
_KEEP = 256 * 1024**2


def keep_heap() -> bool:
    """Let the C library keep freed memory instead of returning it to the system after every batch.

    Every batch allocates the same arrays of a few megabytes. By default glibc maps each of them anew, and the
    kernel clears its pages one by one: that took a third of the time of a batch. Without glibc nothing is done.

    Returns
    -------
    bool
        Whether the settings were taken.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library, such as musl
        return False
    taken = [
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD),
        mallopt(_M_TRIM_THRESHOLD, _KEEP),
        mallopt(_M_TOP_PAD, _KEEP // 4),
    ]
    return all(taken)
