"""The same work on many items, in one process or in several, each of which makes its tools once."""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")
Tools = TypeVar("Tools")

_tools: Any = None
"""Of a worker process, which has nothing else to hold them with."""


def work(
    items: Sequence[Item],
    function: Callable[[Tools, Item], Result],
    make: Callable[[], Tools],
    processes: int,
) -> Iterator[Result]:
    """``function(tools, item)`` of each item, in order; ``make()`` gives the tools.

    With more than one process all three have to be picklable, and each process computes on one thread.
    """
    count = min(processes, len(items))
    if count <= 1:
        if items:
            tools = make()
            yield from (function(tools, item) for item in items)
        return
    # Spawned, not forked: a forked child may inherit the locks of its parent's threads.
    with multiprocessing.get_context("spawn").Pool(count, _begin, (make,)) as pool:
        yield from pool.imap(partial(_with_tools, function), items)
        pool.close()
        pool.join()  # they end by themselves and give back what they hold


def _begin(make: Callable[[], Any]) -> None:
    global _tools
    torch.set_num_threads(1)
    _tools = make()


def _with_tools(function: Callable[[Any, Item], Result], item: Item) -> Result:
    return function(_tools, item)
