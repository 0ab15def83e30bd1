"""Iteration in a thread of its own."""

import threading
import time
from collections.abc import Generator

import pytest

from lina.speech.ahead import iterate_ahead

MOST = 3


class Source:
    """Numbers up to ``count``, then an error if there is one; it notes how far it came, and that it was closed."""

    def __init__(self, count: int, error: Exception | None = None) -> None:
        self.count, self.error = count, error
        self.last, self.closed = -1, False
        self.threads: set[threading.Thread] = set()

    def __call__(self) -> Generator[int, None, None]:
        try:
            for number in range(self.count):
                self.last = number
                self.threads.add(threading.current_thread())
                yield number
            if self.error:
                raise self.error
        finally:
            self.closed = True


def test_items_come_in_order_from_another_thread() -> None:
    source = Source(100)
    assert list(iterate_ahead(source(), MOST)) == list(range(100))
    assert source.closed
    assert threading.current_thread() not in source.threads


def test_no_more_than_a_few_are_computed_ahead() -> None:
    source = Source(100)
    items = iterate_ahead(source(), MOST)
    assert next(items) == 0
    deadline = time.monotonic() + 5
    while source.last < MOST and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(0.02)
    assert source.last == MOST
    items.close()
    assert source.closed
    assert source.last == MOST


def test_an_error_comes_in_its_place() -> None:
    items = iterate_ahead(Source(5, ValueError("six"))(), MOST)
    assert [next(items) for _ in range(5)] == list(range(5))
    with pytest.raises(ValueError, match="six"):
        next(items)
