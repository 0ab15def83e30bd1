"""Resident memory of this process in MiB, without that of its parent process."""

import sys
from pathlib import Path


def resident_mib() -> float | None:
    """Current resident memory; None without proc(5)."""
    return _status("VmRSS")


def peak_mib() -> float | None:
    """Peak resident memory; None where the system does not report it.

    Without proc(5) it is that of ``getrusage``, which starts from the memory of the parent process.
    """
    if (own := _status("VmHWM")) is not None:
        return own
    try:
        import resource
    except ImportError:
        return None
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest / (2**20 if sys.platform == "darwin" else 2**10)


def _status(field: str) -> float | None:
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        return None
    return next(
        (int(line.split()[1]) / 2**10 for line in status.splitlines() if line.startswith(f"{field}:")), None
    )
