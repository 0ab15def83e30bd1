import time
from collections.abc import Iterable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lina.core.errors import DataError
from lina.data import batch_plan
from lina.data.batch_plan import BatchPlan

LENGTHS = st.lists(st.integers(1, 400), min_size=1, max_size=120)


def some_lengths(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(20, 1_000, count)


def flat(batches: Iterable[Sequence[int]]) -> list[int]:
    return [utterance for batch in batches for utterance in batch]


@settings(deadline=None, max_examples=60)
@given(LENGTHS, st.integers(1, 1_000), st.integers(0, 2**63), st.integers(0, 5))
def test_each_utterance_once_and_within_the_budget(
    lengths: list[int], budget: int, seed: int, epoch: int
) -> None:
    plan = BatchPlan(lengths, budget, seed)
    batches = plan.batches(epoch)
    assert sorted(flat(batches)) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= budget
    assert batches == BatchPlan(lengths, budget, seed).batches(epoch)


def test_epochs_follow_each_other() -> None:
    plan = BatchPlan(some_lengths(300), 6_000, seed=1)
    counts = [len(plan.batches(epoch)) for epoch in range(4)]
    assert plan.epoch_of(0) == (0, 0)
    assert plan.epoch_of(counts[0] - 1) == (0, 0)
    assert plan.epoch_of(counts[0]) == (1, counts[0])
    assert plan.epoch_of(sum(counts[:3])) == (3, sum(counts[:3]))
    assert plan.epoch_of(1) == (0, 0)
    assert plan.batch(sum(counts[:2])) == plan.batches(2)[0]


def test_epochs_and_seeds_differ() -> None:
    lengths = some_lengths(300)
    plan = BatchPlan(lengths, 6_000, seed=1)
    assert plan.batches(0) != plan.batches(1)
    assert plan.batches(0) != BatchPlan(lengths, 6_000, seed=2).batches(0)
    assert sorted(map(sorted, plan.batches(0))) != sorted(map(sorted, plan.batches(1)))


def padding(plan: BatchPlan, epoch: int = 0) -> float:
    """The fraction of an epoch's padded frames that is padding."""
    lengths = plan.lengths
    padded = sum(len(batch) * max(lengths[i] for i in batch) for batch in plan.batches(epoch))
    return float(1.0 - lengths.sum() / padded)


def test_sorting_in_windows_pads_little() -> None:
    assert padding(BatchPlan(some_lengths(5_000), 16_000, 0)) < 0.05


def test_sizes_of_an_epoch() -> None:
    plan = BatchPlan(some_lengths(700), 6_000, 3)
    batches = plan.batches(2)
    padded = sum(len(batch) * max(plan.lengths[i] for i in batch) for batch in batches)
    assert plan.size_of(2) == (len(batches), padded)


def test_an_epoch_is_moved_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = some_lengths(900)
    whole = BatchPlan(lengths, 6_000, 3).batches(0)
    monkeypatch.setattr(batch_plan, "CHUNK", 50)
    assert BatchPlan(lengths, 6_000, 3).batches(0) == whole


def test_an_utterance_beyond_the_budget_is_alone() -> None:
    batches = BatchPlan([10, 10, 5_000, 10], 100, 0).batches(0)
    assert [2] in batches
    assert len(batches) == 2


def test_it_is_fast() -> None:
    lengths = some_lengths(1_000_000)
    started = time.process_time()
    assert len(BatchPlan(lengths, 32_768, 0).batch(5_000)) > 1
    assert time.process_time() - started < 3.0


def test_bad_input() -> None:
    with pytest.raises(DataError, match="nothing to make batches of"):
        BatchPlan([], 100, 0)
    with pytest.raises(DataError, match="utterance 1 has no frames"):
        BatchPlan([3, 0], 100, 0)
    with pytest.raises(DataError, match="a batch of 0 frames"):
        BatchPlan([3], 0, 0)
    with pytest.raises(ValueError, match="before the first batch"):
        BatchPlan([3], 5, 0).batch(-1)
