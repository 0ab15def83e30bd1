"""Words of a text against a recognizer's transcript, marked by the alignment that the error rates count."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Literal

from lina.evaluation.error_rates import align
from lina.evaluation.normalization import WordGroup, word_groups

Kind = Literal["right", "wrong", "missing", "extra"]
Column = tuple[int | None, int | None, bool]
"""Group of the text, group of the transcript, and equality of one aligned pair of normalized words."""


@dataclass(frozen=True)
class Mark:
    """Aligned words as written: ``reference`` is empty for an extra word, ``transcript`` for a missing one."""

    kind: Kind
    reference: str
    transcript: str


def compare(text: str, transcript: str, language: str) -> list[Mark]:
    """Mark the words of both; nothing is marked wrong, missing or extra exactly where ``count_errors`` counts none.

    Words that normalize together ("seven thirty" and "7:30") are one mark; it counts as one error or more, or as none.

    Args:
        text: The reference.
        transcript: The recognizer's output.
        language: Code of both in ISO 639-1.
    """
    left, right = word_groups(text, language), word_groups(transcript, language)
    columns = _columns(left, right)
    if not columns:
        reference, hypothesis = " ".join(text.split()), " ".join(transcript.split())
        return [Mark("right", reference, hypothesis)] if reference or hypothesis else []
    return [_mark(block, left, right) for block in _blocks(columns)]


def _columns(left: Sequence[WordGroup], right: Sequence[WordGroup]) -> list[Column]:
    groups = [[place for place, group in enumerate(side) for _ in group.words] for side in (left, right)]
    reference, hypothesis = ([word for group in side for word in group.words] for side in (left, right))
    columns: list[Column] = []
    for chunk in align(reference, hypothesis):
        own = groups[0][chunk.ref_start_idx : chunk.ref_end_idx]
        other = groups[1][chunk.hyp_start_idx : chunk.hyp_end_idx]
        columns += [(one, two, chunk.type == "equal") for one, two in zip_longest(own, other)]
    return columns


def _blocks(columns: Sequence[Column]) -> Iterator[list[Column]]:
    """Split the columns at every boundary that is one of both sides' groups."""
    last = {(side, column[side]): place for place, column in enumerate(columns) for side in (0, 1)}
    block: list[Column] = []
    end = 0
    for place, column in enumerate(columns):
        block.append(column)
        end = max(end, *(last[side, column[side]] for side in (0, 1) if column[side] is not None))
        if place == end:
            yield block
            block, end = [], place + 1


def _mark(block: Sequence[Column], left: Sequence[WordGroup], right: Sequence[WordGroup]) -> Mark:
    reference, transcript = (
        " ".join(side[place].text for place in dict.fromkeys(places) if place is not None)
        for side, places in (
            (left, [column[0] for column in block]),
            (right, [column[1] for column in block]),
        )
    )
    if all(equal for _, _, equal in block):
        return Mark("right", reference, transcript)
    return Mark(
        "wrong" if reference and transcript else "missing" if reference else "extra", reference, transcript
    )
