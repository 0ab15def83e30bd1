"""CPU threads of the calling thread, without an effect on other code in any thread."""

import threading
from collections.abc import Callable, Generator, Iterator

import pytest
import torch

from lina.core.process import threads
from lina.core.process.threads import limit_threads, limit_threads_of, use_one_thread
from lina.runs.checkpoint_writer import CheckpointWriter

HOST = 3


@pytest.fixture(autouse=True)
def _host() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(HOST)
    yield
    torch.set_num_threads(before)


def in_a_new_thread(call: Callable[[], int]) -> int:
    results: list[int] = []
    thread = threading.Thread(target=lambda: results.append(call()))
    thread.start()
    thread.join()
    return results[0]


def numbers(count: int) -> Generator[int, None, None]:
    for _ in range(count):
        yield torch.get_num_threads()


def test_the_number_is_restored() -> None:
    with limit_threads(1):
        assert torch.get_num_threads() == 1
        with limit_threads(2):
            assert torch.get_num_threads() == 2
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == HOST
    with pytest.raises(ZeroDivisionError), limit_threads(1):
        1 / 0  # noqa: B018
    assert torch.get_num_threads() == HOST
    with limit_threads(None):
        assert torch.get_num_threads() == HOST


def test_other_threads_are_not_affected() -> None:
    """Threads that use PyTorch for the first time meanwhile or afterwards."""
    with limit_threads(1):
        assert in_a_new_thread(torch.get_num_threads) == HOST
        assert in_a_new_thread(lambda: next(limit_threads_of(2, numbers(1)))) == 2
        assert torch.get_num_threads() == 1
    assert in_a_new_thread(torch.get_num_threads) == HOST


def test_a_thread_that_has_not_used_pytorch_is_limited_and_restored() -> None:
    def inside_and_after() -> int:
        with limit_threads(1):
            torch.ones(10).sum()
            inside = torch.get_num_threads()
        return inside * 10 + torch.get_num_threads()

    assert in_a_new_thread(inside_and_after) == 10 + HOST


def test_a_thread_beside_a_computation_has_no_team() -> None:
    def inside() -> int:
        use_one_thread()
        return torch.get_num_threads()

    assert in_a_new_thread(inside) == 1
    assert torch.get_num_threads() == in_a_new_thread(torch.get_num_threads) == HOST
    writer = CheckpointWriter(lambda _: None)
    assert writer.executor.submit(torch.get_num_threads).result() == 1
    writer.close()


def test_work_in_a_limited_thread_stays_in_it() -> None:
    """The number that OpenMP itself reports, not PyTorch's record of it."""
    library = threads._openmp_library()
    assert library is not None
    with limit_threads(1):
        assert library.omp_get_max_threads() == 1
    assert library.omp_get_max_threads() == HOST


def test_interleaved_generators_have_their_own_numbers() -> None:
    one, two = limit_threads_of(1, numbers(3)), limit_threads_of(2, numbers(2))
    seen = []
    for _ in range(2):
        seen += [next(one), torch.get_num_threads(), next(two), torch.get_num_threads()]
    assert seen == [1, HOST, 2, HOST] * 2
    torch.set_num_threads(HOST + 1)
    assert (next(one), torch.get_num_threads()) == (1, HOST + 1), "the host's own number may change meanwhile"
    assert list(one) == []
    assert torch.get_num_threads() == HOST + 1


def test_the_number_is_restored_after_close_or_failure() -> None:
    closed: list[int] = []

    def items() -> Generator[int, None, None]:
        try:
            yield 1
            raise ValueError("failure")
        finally:
            closed.append(1)

    first, second = limit_threads_of(1, items()), limit_threads_of(1, items())
    assert (next(first), next(second)) == (1, 1)
    first.close()
    assert closed == [1]
    with pytest.raises(ValueError, match="failure"):
        next(second)
    assert closed == [1, 1]
    assert torch.get_num_threads() == HOST


def test_without_openmp_the_number_of_the_process_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_openmp_library", lambda: None)
    threads._setters.cache_clear()
    use_one_thread()
    assert torch.get_num_threads() == HOST, "of all threads, which are none of this one's business"
    try:
        with limit_threads(1):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == HOST
    finally:
        threads._setters.cache_clear()
