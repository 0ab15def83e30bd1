"""Best-of-N selection: synthesize a text with several seeds and keep the best alignment."""

from collections.abc import Sequence
from dataclasses import dataclass

from lina.engine.request import RowResult
from lina.speech.alignment import Alignment, alignment
from lina.speech.synthesis_input import SynthesisInput


@dataclass(frozen=True)
class Candidate:
    """Seed, length and alignment of one attempt."""

    seed: int
    """Reproduces this candidate with ``best_of`` 1 and the same texts."""
    frames: int
    alignment: Alignment


@dataclass(frozen=True)
class Choice:
    """The best candidate with its row, and all candidates in the order of their seeds."""

    row: RowResult
    candidate: Candidate
    candidates: tuple[Candidate, ...]


def select_best(rows: Sequence[RowResult], item: SynthesisInput, seed: int) -> Choice:
    """Select the best row of an input: lowest alignment cost; of equals the shortest, then the first.

    ``rows``: with ``seed``, ``seed`` + 1, and so on.
    """
    candidates = tuple(
        Candidate(
            seed + attempt,
            len(row.codes),
            alignment(
                row.attention[:, : len(item.ids)],
                stopped=row.stopped or row.ended_by_window,
                start=item.start,
            ),
        )
        for attempt, row in enumerate(rows)
    )
    best = min(candidates, key=lambda one: (one.alignment.alignment_cost, one.frames, one.seed))
    return Choice(rows[candidates.index(best)], best, candidates)
