"""How the C library treats memory that a program gives back between two calls."""

import ctypes
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX, M_ARENA_MAX = -1, -2, -4, -8
"""Options of glibc's ``mallopt``, from its ``malloc.h``."""

LARGEST_INT = 2**31 - 1
TOP_PAD_BYTES = 64 << 20


def keep_freed_memory() -> None:
    """Lets this process keep memory that it frees, for its next call to take.

    XLA allocates the intermediate arrays of a program anew at each call. glibc gives blocks of that size back to the
    system when they are freed, and at the next call the system hands out zeroed pages one by one. Without effect where
    the C library is not glibc.
    """
    if sys.platform != "linux":
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(M_ARENA_MAX, 1)
    mallopt(M_MMAP_MAX, 0)
    mallopt(M_TRIM_THRESHOLD, LARGEST_INT)
    mallopt(M_TOP_PAD, TOP_PAD_BYTES)
