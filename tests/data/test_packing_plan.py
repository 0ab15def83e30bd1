import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lina.core.errors import DataError
from lina.data.batch_plan import BatchPlan
from lina.data.packing_plan import RowPlan, row_numbers

UTTERANCES = st.lists(st.tuples(st.integers(1, 400), st.integers(0, 3)), min_size=1, max_size=80)


def epoch_rows(plan: RowPlan, epoch: int) -> list[list[list[int]]]:
    first = sum(len(plan.batches(before)) for before in range(epoch))
    return [plan.rows(first + place) for place in range(len(plan.batches(epoch)))]


@settings(deadline=None, max_examples=60)
@given(UTTERANCES, st.integers(1, 5), st.integers(1, 1_000), st.integers(0, 2**63 - 1), st.integers(0, 3))
def test_each_utterance_once_with_its_speaker_within_the_budget(
    utterances: list[tuple[int, int]], count: int, budget: int, seed: int, epoch: int
) -> None:
    lengths, speakers = map(list, zip(*utterances, strict=True))
    plan = RowPlan(lengths, speakers, count, budget, seed)
    batches = epoch_rows(plan, epoch)
    rows = [row for batch in batches for row in batch]
    assert sorted(number for row in rows for number in row) == list(range(len(lengths)))
    assert all(len({speakers[number] for number in row}) == 1 for row in rows)
    assert all(len(row) <= count for row in rows)
    for speaker in set(speakers):
        short = [row for row in rows if len(row) < count and speakers[row[0]] == speaker]
        assert len(short) <= 1
    for batch in batches:
        longest = max(sum(lengths[number] for number in row) for row in batch)
        assert len(batch) == 1 or len(batch) * longest <= budget
    assert batches == epoch_rows(RowPlan(lengths, speakers, count, budget, seed), epoch)


def test_others_follow_in_another_epoch_and_for_another_seed() -> None:
    lengths = np.random.default_rng(0).integers(20, 100, 50)
    plan, other = (RowPlan(lengths, [0] * 50, 2, 500, seed) for seed in (1, 2))

    def pairs(plan: RowPlan, epoch: int) -> set[tuple[int, ...]]:
        return {tuple(row) for batch in epoch_rows(plan, epoch) for row in batch}

    assert len(pairs(plan, 0) & pairs(plan, 1)) < 5
    assert len(pairs(plan, 0) & pairs(other, 0)) < 5


def test_rows_of_one_come_in_the_order_of_the_batch_plan() -> None:
    lengths = np.random.default_rng(0).integers(20, 100, 60)
    plain, rows = BatchPlan(lengths, 700, 4), RowPlan(lengths, list(range(60)), 1, 700, 4)
    for position in range(40):
        assert rows.rows(position) == [[number] for number in plain.batch(position)]


def test_nothing_is_no_corpus() -> None:
    with pytest.raises(DataError, match="no utterances"):
        RowPlan([], [], 2, 100, 0)


def test_numbers_of_rows_in_their_batch() -> None:
    assert row_numbers([[7], [3]]).tolist() == [[0], [1]]
    found = row_numbers([[7, 8, 2], [3], [1, 4]])
    assert found is not None
    assert found.tolist() == [[0, 1, 2], [3, -1, -1], [4, 5, -1]]
