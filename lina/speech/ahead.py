"""Iteration in a thread of its own, a few items ahead of whoever uses them. Imports no torch."""

import threading
from collections.abc import Generator
from queue import SimpleQueue
from typing import TypeVar

Item = TypeVar("Item")


def iterate_ahead(items: Generator[Item, None, None], most: int) -> Generator[Item, None, None]:
    """Yield ``items``, up to ``most`` of which are computed before they are asked for.

    An exception is raised here in its place. Closing this generator closes ``items``, after the one that is computed.
    """
    found: SimpleQueue[tuple[Item] | BaseException | None] = SimpleQueue()
    room, closed = threading.Semaphore(most), threading.Event()

    def compute() -> None:
        try:
            while room.acquire() and not closed.is_set():
                found.put((next(items),))
        except StopIteration:
            found.put(None)
        except BaseException as error:
            found.put(error)
        finally:
            items.close()

    thread = threading.Thread(target=compute, name="lina-ahead", daemon=True)
    thread.start()
    try:
        while (item := found.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            room.release()
            yield item[0]
    finally:
        closed.set()
        room.release()
        thread.join()
