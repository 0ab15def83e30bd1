"""The best of several speeches of one text, by alignment: each was drawn with a seed of its own."""

from collections.abc import Sequence
from dataclasses import dataclass

from lina.core.generation.generate import Said
from lina.speech.alignment import Alignment, alignment
from lina.speech.request import Script


@dataclass(frozen=True)
class Candidate:
    """One of the speeches that the best is chosen among."""

    seed: int
    """Said with it and ``best_of`` 1, the same texts are said the same."""
    frames: int
    alignment: Alignment


@dataclass(frozen=True)
class Choice:
    """The best, and all that it was chosen among, in the order of their seeds."""

    said: Said
    candidate: Candidate
    candidates: tuple[Candidate, ...]


def choose(spoken: Sequence[Said], scripts: Sequence[Script], seed: int) -> list[Choice]:
    """The best speech of each script: the least bad alignment; of equals the shortest, then the first.

    ``spoken``: all scripts with ``seed``, then all with ``seed`` + 1, and so on.
    """
    return [_choice(spoken[row :: len(scripts)], script, seed) for row, script in enumerate(scripts)]


def _choice(spoken: Sequence[Said], script: Script, seed: int) -> Choice:
    candidates = tuple(
        Candidate(
            seed + place,
            len(said.codes),
            alignment(
                said.attention[:, : len(script.ids)],
                stopped=said.stopped or said.lingered,
                start=script.start,
            ),
        )
        for place, said in enumerate(spoken)
    )
    best = min(candidates, key=lambda one: (one.alignment.badness, one.frames, one.seed))
    return Choice(spoken[candidates.index(best)], best, candidates)
