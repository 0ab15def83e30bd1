"""CPU threads that PyTorch's operators use, for the calling thread alone.

``torch.set_num_threads`` cannot limit them locally: it also sets the default of every thread that uses PyTorch for the
first time later. This module changes the number of the calling thread only, in the OpenMP runtime that PyTorch is
linked to.
"""

import ctypes
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TypeVar

import torch

Item = TypeVar("Item")
SetThreads = Callable[[int], object]


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


def use_one_thread() -> None:
    """Keep PyTorch in the calling thread, for as long as it lives: the initializer of threads beside a computation.

    OpenMP has a team for each thread that computes. As soon as all teams have more threads than there are cores, GNU's
    lets them all sleep at every barrier, and training takes twice as long.
    """
    if _openmp_library() is not None:
        torch.get_num_threads()
        for set_number in _setters():
            set_number(1)


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
