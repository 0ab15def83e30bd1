"""Freed memory stays with the process while it computes on a CPU.

glibc gives large blocks back to the kernel at every free, and every use begins with page faults. On a virtual machine
these can cost far more than the arithmetic: docs/design.md has the measurement.
"""

import ctypes
import sys

_MMAP_MAX, _TRIM_THRESHOLD, _TOP_PAD = -4, -1, -2


def keep_freed_memory() -> bool:
    """Tell glibc to keep what is freed; False where the C library is another (nothing is changed there)."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    options = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, 2**26))
    return all(mallopt(option, value) for option, value in options)
