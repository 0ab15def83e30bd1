"""The memory that this process holds, as the system counts it."""

import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")


def resident_mib() -> float | None:
    """What is resident now; None where the system does not tell."""
    return _field("VmRSS")


def peak_memory_mib() -> float | None:
    """The largest resident memory that this process has had; None where the system does not tell.

    Linux counts it anew for each program that is started. ``getrusage`` is asked elsewhere only: on Linux its number
    begins with the memory of the process that started this one (man getrusage: it is kept over execve).
    """
    found = _field("VmHWM")
    if found is not None:
        return found
    try:
        import resource
    except ImportError:
        return None
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest / (2**20 if sys.platform == "darwin" else 2**10)


def _field(name: str) -> float | None:
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 2**10 for line in lines if line.startswith(f"{name}:")), None)
