"""Word error rate and character error rate between reference texts and transcripts, after normalizing both.

One alignment, jiwer's (Levenshtein, all edits of equal cost), gives the counts here and the marked words of the report.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from lina.evaluation.normalization import normalize

if TYPE_CHECKING:
    from jiwer import AlignmentChunk


class ErrorRates(NamedTuple):
    """Errors over the length of all texts together: 0.25 is one wrong word (character) in four; may exceed 1."""

    words: float
    characters: float


class Errors(NamedTuple):
    """Errors in the transcript of one text."""

    words: int
    """Length of the text; at least 1, so that any transcript of a text without words is wrong."""
    wrong_words: int
    """Substitutions, deletions and insertions."""
    characters: int
    """Of the normalized words, spaces between them included."""
    wrong_characters: int


def count_errors(text: str, transcript: str, language: str) -> Errors:
    """Count the edits between a text and its transcript, after ``normalize`` on both sides.

    Args:
        text: The reference.
        transcript: The recognizer's output.
        language: Code of both in ISO 639-1.
    """
    from jiwer import process_characters

    reference, hypothesis = normalize(text, language), normalize(transcript, language)
    by_character = process_characters(" ".join(reference), " ".join(hypothesis))
    return Errors(
        max(1, len(reference)),
        sum(
            max(chunk.ref_end_idx - chunk.ref_start_idx, chunk.hyp_end_idx - chunk.hyp_start_idx)
            for chunk in align(reference, hypothesis)
            if chunk.type != "equal"
        ),
        max(1, len(" ".join(reference))),
        by_character.substitutions + by_character.deletions + by_character.insertions,
    )


def error_rates(texts: Sequence[str], transcripts: Sequence[str], language: str) -> ErrorRates:
    """Errors over the length of all texts together, as ``count_errors`` counts them; 0 without any text.

    Raises:
        ValueError: The numbers of texts and of transcripts differ.
    """
    counts = [count_errors(*pair, language) for pair in zip(texts, transcripts, strict=True)]
    if not counts:
        return ErrorRates(0.0, 0.0)
    words, wrong_words, characters, wrong_characters = map(sum, zip(*counts, strict=True))
    return ErrorRates(wrong_words / words, wrong_characters / characters)


def align(reference: Sequence[str], hypothesis: Sequence[str]) -> "list[AlignmentChunk]":
    """Align two lists of normalized words: equal, substituted, deleted and inserted stretches, in order."""
    from jiwer import process_words

    chunks: list[AlignmentChunk] = process_words(" ".join(reference), " ".join(hypothesis)).alignments[0]
    return chunks
