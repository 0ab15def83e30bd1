from dataclasses import replace

import torch

from lina.engine.request import RowResult
from lina.speech.best_of import select_best
from lina.speech.synthesis_input import SynthesisInput
from tests.speech.test_alignment import CLEAN, EARLY, POSITIONS, REPEAT, SKIP, attention

INPUT = SynthesisInput("", list(range(POSITIONS)), 0, torch.zeros(0, 2, dtype=torch.int64))


def row(path: list[float], stopped: bool = True) -> RowResult:
    padding = torch.zeros(len(path), 24)
    return RowResult(
        torch.zeros(len(path), 2, dtype=torch.int64), torch.cat([attention(path), padding], 1), stopped
    )


def test_the_best_aligned_row_is_selected_among_all_candidates() -> None:
    tried = [row(SKIP), row(CLEAN, stopped=False), row(CLEAN), row(REPEAT), row(EARLY)]
    choice = select_best(tried, INPUT, seed=10)
    assert choice.row is tried[2]
    assert choice.candidate == choice.candidates[2]
    assert [one.seed for one in choice.candidates] == [10, 11, 12, 13, 14]
    assert [one.frames for one in choice.candidates] == [len(one.codes) for one in tried]
    assert all(
        one.alignment.alignment_cost > choice.candidate.alignment.alignment_cost
        for one in choice.candidates
        if one != choice.candidate
    )


def test_ties_go_to_the_shortest_then_the_first() -> None:
    slow, quick = [0.0] * 9 + CLEAN, CLEAN
    choice = select_best([row(slow), row(quick), row(quick)], INPUT, seed=0)
    assert choice.candidate.seed == 1


def test_a_row_ended_by_the_window_counts_as_stopped() -> None:
    """Otherwise it would cost as much as a row cut at the limit, and more than one with skips."""
    ended = replace(row(CLEAN, stopped=False), ended_by_window=True)
    choice = select_best([row(CLEAN, stopped=False), row(SKIP), ended], INPUT, seed=0)
    assert choice.row is ended
    assert [one.alignment.stopped for one in choice.candidates] == [False, True, True]
