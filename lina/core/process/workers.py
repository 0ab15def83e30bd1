"""Run one function on many items, in this process or in a pool of worker processes."""

import multiprocessing
import os
import pickle
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from multiprocessing.connection import Connection
from typing import Any, Generic, NamedTuple, TypeVar

import torch

from lina.core.errors import LinaError

Item = TypeVar("Item")
Result = TypeVar("Result")
Tools = TypeVar("Tools")

IN_FLIGHT = 8
"""Items per process that are submitted and not yielded yet, so that memory does not grow with the number of items."""
NAMED = 8
"""Items in the message about a killed process, at most."""


def work(
    items: Sequence[Item],
    function: Callable[[Tools, Item], Result],
    make: Callable[[], Tools],
    processes: int,
    name: Callable[[Item], object] = str,
) -> Generator[Result]:
    """Yield ``function(tools, item)`` of each item, in order, where ``tools`` is ``make()``, once per process.

    With more than one process, functions, items and results are pickled, and each process computes on one thread. The
    processes end with the iterator, so an iterator that may be left early belongs in ``contextlib.closing``; they also
    end when this process is killed.

    Args:
        name: of an item, for the message about the items in work when a process was killed.

    Raises:
        LinaError: a worker process was killed or crashed.
        Exception: ``make`` or ``function`` raised it; an exception that cannot be pickled becomes a RuntimeError
            with its type and message, or a LinaError if it is one.
    """
    count = min(processes, len(items))
    if count > 1:
        yield from _pool(items, function, make, count, name)
    elif items:
        tools = make()
        yield from (function(tools, item) for item in items)


class _Submitted(NamedTuple):
    item: Any
    slot: int
    future: Future[bytes]


def _pool(
    items: Sequence[Item],
    function: Callable[[Tools, Item], Result],
    make: Callable[[], Tools],
    count: int,
    name: Callable[[Item], object],
) -> Generator[Result]:
    # Spawned, not forked: a forked child may inherit the locks of its parent's threads.
    context = multiprocessing.get_context("spawn")
    started = context.RawArray("b", IN_FLIGHT * count)
    lifeline, held = context.Pipe(duplex=False)
    executor = ProcessPoolExecutor(count, context, _begin, (_Job(function, make, started), lifeline))
    submitted: deque[_Submitted] = deque()
    try:
        for number, item in enumerate(items):
            if len(submitted) == len(started):
                yield _first(submitted)
            slot = number % len(started)
            started[slot] = 0
            submitted.append(_Submitted(item, slot, executor.submit(_call, slot, item)))
        while submitted:
            yield _first(submitted)
    except BrokenProcessPool as error:
        lost = [one.item for one in submitted if started[one.slot] and _is_lost(one.future)]
        raise LinaError(_broken([str(name(item)) for item in lost])) from error
    finally:
        if (
            submitted
        ):  # left early, by an error, a signal or the caller: end the processes in the middle of their work
            held.close()
        executor.shutdown(cancel_futures=True)
        held.close()
        lifeline.close()


def _first(submitted: deque[_Submitted]) -> Any:
    """Wait for the result of the first and remove it."""
    result = submitted[0].future.result()
    submitted.popleft()
    return pickle.loads(result)


def _is_lost(future: Future[bytes]) -> bool:
    """Wait until the broken pool has set the result or the exception of the future."""
    return isinstance(future.exception(), BrokenProcessPool)


def _broken(in_work: Sequence[str]) -> str:
    more = f" and {len(in_work) - NAMED} more" if len(in_work) > NAMED else ""
    where = (
        f" while it worked on {', '.join(in_work[:NAMED])}{more}" if in_work else " before it began to work"
    )
    return (
        f"a worker process was killed or crashed{where}; if memory ran out, use fewer processes; "
        "run the same command to resume"
    )


@dataclass
class _Job(Generic[Tools, Item, Result]):
    """The job of a pool, as each worker process holds it."""

    function: Callable[[Tools, Item], Result]
    make: Callable[[], Tools]
    started: Any
    """Shared array of int8 [slots]: 1 where an item was started. It has no lock, which a killed process might hold."""

    @cached_property
    def tools(self) -> Tools:
        return self.make()


_job: _Job[Any, Any, Any]
"""Per-process global, set by the pool initializer."""


def _begin(job: _Job[Any, Any, Any], lifeline: Connection) -> None:
    global _job
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches all processes of a terminal; the parent handles it
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()
    torch.set_num_threads(1)
    _job = job


def _end_with(lifeline: Connection) -> None:
    """End this process when the other end of the pipe is closed: by the parent, or by the kernel if that was killed."""
    with suppress(EOFError, OSError):
        lifeline.recv_bytes()
    os._exit(1)


def _call(slot: int, item: Any) -> bytes:
    """The pickled result, so that tensors are copied: multiprocessing's pickler would share their memory instead.

    ``make`` runs here and not in the initializer, whose exceptions a pool does not pass on.
    """
    _job.started[slot] = 1
    try:
        return pickle.dumps(_job.function(_job.tools, item))
    except Exception as error:
        if _survives_pickling(error):
            raise
        message = f"{type(error).__name__}: {error}"
        raise LinaError(str(error)) if isinstance(error, LinaError) else RuntimeError(message) from error


def _survives_pickling(error: Exception) -> bool:
    try:
        return type(pickle.loads(pickle.dumps(error))) is type(error)
    except Exception:
        return False
