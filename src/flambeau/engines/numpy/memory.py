"""How the C library hands out memory for arrays.

By default glibc gives arrays of more than 128 KiB fresh pages from the system and returns them when freed. A training
step frees and asks for the same sizes again and again, so each step pays thousands of page faults, some 15% of a small
convolutional network's time. Told to keep what is freed, it hands out warm pages. Nothing is held that was not in use
at some time, and `MALLOC_` variables in the environment have the last word.
"""

from __future__ import annotations

import ctypes
import os
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's numbers for mallopt
_LARGEST_KEPT = 32 << 20  # the most that glibc accepts: larger arrays still come from the system
_KEPT_AT_MOST = 512 << 20


def keep_freed_pages() -> bool:
    """Asks glibc to keep freed memory for the next array; False where there is no glibc or the user has chosen."""
    if not sys.platform.startswith("linux") or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _LARGEST_KEPT) and mallopt(_TRIM_THRESHOLD, _KEPT_AT_MOST))


def release_freed_pages() -> None:
    """Gives memory that is free now back to the system: what comes next needs other sizes."""
    if sys.platform.startswith("linux"):
        try:
            ctypes.CDLL(None).malloc_trim(0)
        except (OSError, AttributeError):
            pass  # another C library, which has ways of its own


keep_freed_pages()
