"""The number of CPU threads that PyTorch uses inside lina's calls.

A step of a small model is hundreds of operators of some microseconds each. Spread over several threads, they
wait for one another longer than they compute, above all beside another busy process. ``torch.set_num_threads`` cannot
limit them locally: it also sets the default of every thread that uses PyTorch for the first time later. This module
changes the number of the calling thread only, in the OpenMP runtime that PyTorch is linked to.
"""

import ctypes
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TypeVar

import torch

from lina.core.errors import LinaError

SMALL = 64_000_000
"""Models of at most so many parameters run on one thread. A step reads each parameter once: 256 MB in float32, which
one core reads at 10 GB/s in less than 40 ms, the duration of a frame at 25 Hz. ``benchmarks/cpu.py`` measures
the shipped voice."""

MAX_THREADS = 1024

Item = TypeVar("Item")
SetThreads = Callable[[int], object]


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


@contextmanager
def limit_threads(count: int | None) -> Iterator[None]:
    """Limit PyTorch to ``count`` threads in the calling thread, and restore its number afterwards."""
    if count is None:
        yield
        return
    before = torch.get_num_threads()  # also initializes a thread that has not used PyTorch yet
    openmp, mkl = _setters()
    openmp(count)
    mkl_before = mkl(count)
    try:
        yield
    finally:
        mkl(mkl_before)
        openmp(before)


def limit_threads_of(count: int | None, items: Generator[Item, None, None]) -> Generator[Item, None, None]:
    """Iterate with ``limit_threads`` in effect while an item is computed, not while the caller uses it."""
    try:
        while True:
            with limit_threads(count):
                try:
                    item = next(items)
                except StopIteration:
                    return
            yield item
    finally:
        items.close()


@cache
def _setters() -> tuple[SetThreads, Callable[[int], int]]:
    """Setters for OpenMP and for MKL, which has its own number and returns the previous one (0: as OpenMP)."""
    library = _openmp_library()
    if library is None:  # Windows, or a build without OpenMP: only a process-wide number exists
        return torch.set_num_threads, lambda count: count
    mkl = getattr(library, "MKL_Set_Num_Threads_Local", lambda count: count)
    return library.omp_set_num_threads, mkl


def _openmp_library() -> ctypes.CDLL | None:
    """Load PyTorch's library of CPU operators, which resolves the symbols of the libraries it is linked to."""
    for path in sorted((Path(torch.__file__).parent / "lib").glob("libtorch_cpu.*")):
        try:
            library = ctypes.CDLL(str(path))
        except OSError:
            continue
        if hasattr(library, "omp_set_num_threads"):
            return library
    return None
