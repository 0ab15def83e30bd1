import torch

from lina.core.generation.generate import Said
from lina.speech.best_of import choose
from lina.speech.request import Script
from tests.speech.test_alignment import CLEAN, EARLY, POSITIONS, REPEAT, SKIP, attention

SCRIPT = Script("", list(range(POSITIONS)), 0, torch.zeros(0, 2, dtype=torch.int64))


def said(path: list[float], stopped: bool = True) -> Said:
    padding = torch.zeros(len(path), 24)
    return Said(torch.zeros(len(path), 2), torch.cat([attention(path), padding], 1), stopped)


def test_the_best_aligned_is_chosen_and_all_are_told() -> None:
    tried = [said(SKIP), said(CLEAN, stopped=False), said(CLEAN), said(REPEAT), said(EARLY)]
    (choice,) = choose(tried, [SCRIPT], seed=10)
    assert choice.said is tried[2]
    assert choice.candidate == choice.candidates[2]
    assert [one.seed for one in choice.candidates] == [10, 11, 12, 13, 14]
    assert [one.frames for one in choice.candidates] == [len(one.codes) for one in tried]
    assert all(
        one.alignment.badness > choice.candidate.alignment.badness
        for one in choice.candidates
        if one != choice.candidate
    )


def test_of_equals_the_shortest_then_the_first() -> None:
    slow, quick = [0.0] * 9 + CLEAN, CLEAN
    (choice,) = choose([said(slow), said(quick), said(quick)], [SCRIPT], seed=0)
    assert choice.candidate.seed == 1


def test_rows_are_all_scripts_with_one_seed_then_with_the_next() -> None:
    rows = [said(CLEAN), said(SKIP), said(EARLY), said(CLEAN)]
    first, second = choose(rows, [SCRIPT, SCRIPT], seed=0)
    assert (first.candidate.seed, second.candidate.seed) == (0, 1)
    assert first.said is rows[0]
    assert second.said is rows[3]


def test_what_the_window_has_ended_has_ended() -> None:
    """Else it would be as bad as one that goes on to the limit, and worse than one that skips."""
    lingered = said(CLEAN, stopped=False)._replace(lingered=True)
    (choice,) = choose([said(CLEAN, stopped=False), said(SKIP), lingered], [SCRIPT], seed=0)
    assert choice.said is lingered
    assert [one.alignment.stopped for one in choice.candidates] == [False, True, True]
