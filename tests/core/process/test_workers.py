"""The pool of worker processes: results in order, bounded work in flight, and an end to every failure."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from lina.core.errors import DataError, LinaError, PluginError
from lina.core.process.workers import IN_FLIGHT, work

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    yield
    assert not multiprocessing.active_children()


def _square(tools: int, item: int) -> tuple[int, torch.Tensor, int, int]:
    return tools, torch.tensor(item**2), torch.get_num_threads(), os.getpid()


@pytest.mark.parametrize("processes", [1, 2])
def test_results_come_in_order_from_processes_of_one_thread(processes: int) -> None:
    results = list(work(range(50), _square, partial(int, 7), processes))
    assert [int(squared) for _, squared, _, _ in results] == [item**2 for item in range(50)]
    assert {tools for tools, _, _, _ in results} == {7}
    if processes > 1:
        assert {threads for _, _, threads, _ in results} == {1}
        assert os.getpid() not in {pid for _, _, _, pid in results}


class CountingSequence(Sequence[int]):
    """Counts how many items have been taken."""

    def __init__(self, count: int) -> None:
        self.items, self.taken = count, 0

    def __len__(self) -> int:
        return self.items

    def __getitem__(self, index: Any) -> Any:
        if index >= self.items:
            raise IndexError
        self.taken = index + 1
        return index


def test_work_in_flight_is_bounded() -> None:
    items = CountingSequence(200)
    with closing(work(items, _square, partial(int, 0), 2)) as results:
        for done, _ in enumerate(results, start=1):
            assert items.taken <= done + 2 * IN_FLIGHT
    assert items.taken == 200


def _sleep(_: object, seconds: float) -> None:
    time.sleep(seconds)


def test_an_iterator_that_is_left_early_ends_its_processes() -> None:
    with closing(work([0.0, 600.0, 600.0], _sleep, object, 2)) as results:
        next(results)


def _die(_: object, item: str) -> str:
    if item == "crash":
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGKILL)
    if item == "long":
        time.sleep(600)
    return item


def test_a_killed_worker_ends_the_work_in_one_line_that_names_the_items_in_work() -> None:
    with pytest.raises(
        LinaError, match=r"killed or crashed while it worked on <long>, <crash>; .* to resume"
    ) as error:
        list(work(["long", "crash", *map(str, range(40))], _die, object, 2, "<{}>".format))
    assert "\n" not in str(error.value)


class OnlyHere:
    """Can be sent to a process, which cannot read it: the process ends as it starts."""

    def __reduce__(self) -> Any:
        return _fail_elsewhere, (os.getpid(),)

    def __call__(self, tools: object, item: int) -> int:
        return item


def _fail_elsewhere(pid: int) -> OnlyHere:
    if os.getpid() != pid:
        raise ValueError("not here")
    return OnlyHere()


def test_a_worker_that_cannot_start_ends_the_work() -> None:
    with pytest.raises(LinaError, match="killed or crashed before it began to work"):
        list(work(range(9), OnlyHere(), object, 2))


def _no_tools() -> int:
    raise PluginError("the codec has no weights")


def test_failing_to_make_the_tools_ends_the_work() -> None:
    with pytest.raises(PluginError, match=r"^the codec has no weights$"):
        list(work(range(9), _square, _no_tools, 2))


class NeedsTwo(Exception):
    """Is pickled, but cannot be read again."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} and {two}")


class NeedsTwoOfTheUser(DataError, NeedsTwo):
    pass


def _raise_unreadable(_: object, item: int) -> None:
    raise NeedsTwo("this", "that")


def _raise_unreadable_mistake(_: object, item: int) -> None:
    raise NeedsTwoOfTheUser("this", "that")


def _raise_unpicklable(_: object, item: int) -> None:
    error = ValueError("holds a function")
    error.held = lambda: None  # type: ignore[attr-defined]
    raise error


def _give_unpicklable(_: object, item: int) -> object:
    return lambda: None


@pytest.mark.parametrize(
    ("function", "kind", "match"),
    [
        (_raise_unreadable, RuntimeError, "^NeedsTwo: this and that$"),
        (_raise_unreadable_mistake, LinaError, "^this and that$"),
        (_raise_unpicklable, RuntimeError, "^ValueError: holds a function$"),
        (_give_unpicklable, Exception, "pickle"),
    ],
)
def test_failing_to_pickle_ends_the_work(
    function: Callable[[object, int], object], kind: type[Exception], match: str
) -> None:
    with pytest.raises(kind, match=match):
        list(work(range(9), function, object, 2))


PARENT = """
from tests.core.process.test_workers import _announce
from lina.core.process.workers import work
if __name__ == "__main__":
    list(work(["one", "two"], _announce, object, 2))
"""


def _announce(_: object, item: str) -> None:
    print(item, flush=True)
    time.sleep(600)


def test_workers_end_with_a_killed_parent() -> None:
    command = [sys.executable, "-c", PARENT]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]) as parent:
        assert parent.stdout is not None
        assert {parent.stdout.readline(), parent.stdout.readline()} == {b"one\n", b"two\n"}
        parent.kill()
        parent.communicate(timeout=30)  # at its end nobody holds the pipe any more
