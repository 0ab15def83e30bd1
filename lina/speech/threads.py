"""The number of CPU threads that PyTorch uses inside lina's calls.

A step of a small model is hundreds of operators of some microseconds each. Spread over threads, they wait for one
another longer than they compute, above all beside another busy process. ``torch.set_num_threads`` is no way to limit
them: besides the calling thread's number it sets the one that every thread begins with which uses PyTorch for the
first time later. Here the number of the calling thread alone is changed, in the OpenMP runtime that PyTorch is linked
to.
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
"""Parameters up to which one thread speaks. A step reads each once: 256 MB in float32, which one core reads in less
than the 40 ms of a frame of 25 a second, at 10 GB/s. ``benchmarks/speaking.py`` measures the shipped voice."""

MAX_THREADS = 1024

Item = TypeVar("Item")
SetThreads = Callable[[int], object]


def choose_threads(requested: int | None, parameters: int) -> int | None:
    """The number of threads for a model; None is the number that the calling thread has.

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
    """Let PyTorch use ``count`` threads in the calling thread; its own number is back afterwards."""
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
    """The same items: ``limit_threads`` holds while the next one is computed, not while the caller has it."""
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
    """For OpenMP, and for MKL, which has a number of its own and returns the one before (0: as OpenMP)."""
    library = _openmp_library()
    if library is None:  # Windows, or a build without OpenMP: there is only the number of the whole process
        return torch.set_num_threads, lambda count: count
    mkl = getattr(library, "MKL_Set_Num_Threads_Local", lambda count: count)
    return library.omp_set_num_threads, mkl


def _openmp_library() -> ctypes.CDLL | None:
    """PyTorch's library of CPU operators: through it, the symbols of all that it is linked to are found."""
    for path in sorted((Path(torch.__file__).parent / "lib").glob("libtorch_cpu.*")):
        try:
            library = ctypes.CDLL(str(path))
        except OSError:
            continue
        if hasattr(library, "omp_set_num_threads"):
            return library
    return None
