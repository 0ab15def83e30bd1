"""Best-of-N selection: synthesize a text with several seeds and keep the best alignment."""

from collections.abc import Sequence
from dataclasses import dataclass

from lina.core.generation.generate import Said
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

    row: Said
    candidate: Candidate
    candidates: tuple[Candidate, ...]


def select_best(rows: Sequence[Said], inputs: Sequence[SynthesisInput], seed: int) -> list[Choice]:
    """Select the best row of each input: lowest alignment cost; of equals the shortest, then the first.

    ``rows``: all inputs with ``seed``, then all with ``seed`` + 1, and so on.
    """
    return [_select(rows[index :: len(inputs)], item, seed) for index, item in enumerate(inputs)]


def _select(rows: Sequence[Said], item: SynthesisInput, seed: int) -> Choice:
    candidates = tuple(
        Candidate(
            seed + attempt,
            len(row.codes),
            alignment(
                row.attention[:, : len(item.ids)],
                stopped=row.stopped or row.lingered,
                start=item.start,
            ),
        )
        for attempt, row in enumerate(rows)
    )
    best = min(candidates, key=lambda one: (one.alignment.alignment_cost, one.frames, one.seed))
    return Choice(rows[candidates.index(best)], best, candidates)
