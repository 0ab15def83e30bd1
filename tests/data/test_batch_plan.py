import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lina.core.errors import DataError
from lina.data.batch_plan import Plan

LENGTHS = st.lists(st.integers(1, 400), min_size=1, max_size=120)


def some_lengths(count, seed=0):
    return np.random.default_rng(seed).integers(20, 1_000, count)


def flat(batches):
    return [utterance for batch in batches for utterance in batch]


@settings(deadline=None, max_examples=60)
@given(
    LENGTHS, st.integers(1, 1_000), st.integers(0, 2**63), st.integers(0, 5), st.none() | st.integers(1, 50)
)
def test_each_utterance_once_and_within_the_budget(lengths, budget, seed, epoch, window):
    plan = Plan(lengths, budget, seed, window=window)
    batches = plan.batches(epoch)
    assert sorted(flat(batches)) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= budget
    assert batches == Plan(lengths, budget, seed, window=window).batches(epoch)


@settings(deadline=None, max_examples=30)
@given(LENGTHS, st.integers(1, 1_000))
def test_without_shuffling_the_order_stays(lengths, budget):
    batches = Plan(lengths, budget, shuffle=False).batches(3)
    assert flat(batches) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= budget


@settings(deadline=None, max_examples=30)
@given(LENGTHS, st.integers(100, 1_000), st.integers(0, 99))
def test_any_number_of_ranks_consumes_one_sequence(lengths, budget, seed):
    plan = Plan(lengths, budget, seed)
    per_epoch = [plan.batches(epoch) for epoch in range(3)]
    sequence = [batch for batches in per_epoch for batch in batches]
    for world in (8, 4, 2, 1):
        steps = len(sequence) // world
        seen = [plan.batch_at(step, rank, world) for step in range(steps) for rank in range(world)]
        assert seen == sequence[: steps * world]


def test_ranks_may_change_in_the_middle():
    lengths = some_lengths(500)
    plan = Plan(lengths, 8_000, seed=3)
    consumed, seen = 0, []
    for world, steps in ((8, 3), (4, 5), (2, 7), (1, 9), (8, 2), (3, 4)):
        restarted = Plan(lengths, 8_000, seed=3)
        for step in range(steps):
            seen += [restarted.batch_at(step, rank, world, consumed=consumed) for rank in range(world)]
        consumed += world * steps
    assert seen == [plan.batch(position) for position in range(consumed)]
    first_epoch = plan.batches(0)
    assert flat(seen[: len(first_epoch)]) == flat(first_epoch)


def test_epochs_follow_each_other():
    plan = Plan(some_lengths(300), 6_000, seed=1)
    counts = [len(plan.batches(epoch)) for epoch in range(4)]
    assert plan.epoch_of(0) == (0, 0)
    assert plan.epoch_of(counts[0] - 1) == (0, 0)
    assert plan.epoch_of(counts[0]) == (1, counts[0])
    assert plan.epoch_of(sum(counts[:3])) == (3, sum(counts[:3]))
    assert plan.epoch_of(1) == (0, 0)
    assert plan.batch(sum(counts[:2])) == plan.batches(2)[0]


def test_epochs_and_seeds_differ():
    lengths = some_lengths(300)
    plan = Plan(lengths, 6_000, seed=1)
    assert plan.batches(0) != plan.batches(1)
    assert plan.batches(0) != Plan(lengths, 6_000, seed=2).batches(0)
    assert sorted(map(sorted, plan.batches(0))) != sorted(map(sorted, plan.batches(1)))


@pytest.mark.parametrize("world", [8, 4, 2, 1])
def test_one_pass_has_equal_steps_and_loses_nothing(world):
    plan = Plan(some_lengths(101), 4_000, shuffle=False)
    ranks = [plan.one_pass(rank, world) for rank in range(world)]
    assert len({len(batches) for batches in ranks}) == 1
    assert sorted(flat(flat(ranks))) == list(range(101))
    assert sum(batch == [] for batches in ranks for batch in batches) < world


def test_an_utterance_beyond_the_budget_is_alone():
    batches = Plan([10, 10, 5_000, 10], 100).batches(0)
    assert [2] in batches
    assert len(batches) == 2


def test_the_longest_window_pads_least():
    lengths = some_lengths(5_000)
    padding = [Plan(lengths, 16_000, window=window).padding() for window in (20, 500, 5_000)]
    assert padding[0] > padding[1] > padding[2]
    assert Plan(lengths, 16_000).padding() < 0.05


def test_it_is_fast():
    lengths = some_lengths(1_000_000)
    started = time.process_time()
    assert len(Plan(lengths, 32_768).batch_at(5_000)) > 1
    assert time.process_time() - started < 3.0


def test_bad_input():
    with pytest.raises(DataError, match="nothing to make batches of"):
        Plan([], 100)
    with pytest.raises(DataError, match="utterance 1 has no frames"):
        Plan([3, 0], 100)
    with pytest.raises(DataError, match="a batch of 0 frames"):
        Plan([3], 0)
    with pytest.raises(DataError, match="window 0"):
        Plan([3], 5, window=0)
    plan = Plan([3], 5)
    with pytest.raises(ValueError, match="rank 2 of 2"):
        plan.batch_at(0, 2, 2)
    with pytest.raises(ValueError, match="before the first batch"):
        plan.batch(-1)
