"""Keep freed memory in the process, for computing on a CPU.

glibc gives large blocks back to the kernel at every free, and every use begins with page faults. On a virtual machine
these can cost far more than the arithmetic: docs/design.md has the measurement.
"""

import ctypes
import sys

_MMAP_MAX, _TRIM_THRESHOLD, _TOP_PAD = -4, -1, -2


def keep_freed_memory() -> bool:
    """Set glibc to keep freed memory; False, and no change, with another C library."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    options = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, 2**26))
    return all(mallopt(option, value) for option, value in options)
