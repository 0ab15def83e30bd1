"""The number of CPU threads that PyTorch uses inside lina's calls.

A step of a small model is hundreds of operators of some microseconds each. Spread over several threads, they
wait for one another longer than they compute, above all beside another busy process.
"""

from lina.core.errors import LinaError

SMALL = 64_000_000
"""Models of at most so many parameters run on one thread. A step reads each parameter once: 256 MB in float32, which
one core reads at 10 GB/s in less than 40 ms, the duration of a frame at 25 Hz. ``benchmarks/cpu.py`` measures
the shipped voice."""

MAX_THREADS = 1024


def choose_threads(requested: int | None, parameters: int) -> int | None:
    """Choose the number of threads for a model; None keeps that of the calling thread.

    Raises:
        LinaError: ``requested`` is not a number of threads.
    """
    if requested is None:
        return 1 if parameters <= SMALL else None
    if isinstance(requested, bool) or not isinstance(requested, int) or not 1 <= requested <= MAX_THREADS:
        raise LinaError(f"threads = {requested!r} is not a whole number in 1 .. {MAX_THREADS}")
    return requested
