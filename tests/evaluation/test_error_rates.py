import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lina.evaluation.error_rates import Errors, align, count_errors, error_rates


def test_errors_of_a_text_are_whole_numbers() -> None:
    assert count_errors("The cat sat on", "the bat sat", "en") == Errors(4, 2, 14, 4)
    assert count_errors("...", "apple pie", "en") == Errors(1, 2, 1, 9)


def test_error_rates_by_hand() -> None:
    rates = error_rates(["The cat sat on", "a mat"], ["the bat sat", "a mat."], "en")
    assert rates == (2 / 6, 4 / 19)


@pytest.mark.parametrize(
    ("text", "transcript"),
    [
        ("Mr. Smith", "Mister Smith"),
        ("1984", "nineteen eighty-four"),
        ("12 %", "twelve percent"),
        ("12%", "12 per cent"),
        ("at 7:30", "at seven thirty"),
        ("at 7:05", "at seven oh five"),
        ("19:45", "nineteen forty-five"),
        ("at 7:00", "at seven o'clock"),
        ("at 7:00 a.m.", "at 7 AM"),
        ("at 7:45 a.m.", "at 7.45 am"),
        ("He (the boss) left.", "he, the boss, left"),
        ("[He] <left>", "he left"),
        ("It’s 12 o’clock!", "it is TWELVE o'clock"),
        ("Smith & Sons", "Smith and Sons"),
        ("Call 555-1234.", "call five five five one two three four"),
    ],
)
def test_the_same_words_written_otherwise_are_no_errors(text: str, transcript: str) -> None:
    assert error_rates([text], [transcript], "en") == (0.0, 0.0)
    assert error_rates([transcript], [text], "en") == (0.0, 0.0)


def test_rates_are_of_all_texts_together() -> None:
    """One wrong word in five, not the mean of 1 and 0."""
    texts = ["no", "these are more words"]
    assert error_rates(texts, ["yes", texts[1]], "en").words == 0.2


def test_an_empty_transcript_is_all_wrong_and_too_many_words_are_worse() -> None:
    assert error_rates(["one two"], [""], "en") == (1.0, 1.0)
    assert error_rates(["no"], ["no more words"], "en").words == 2.0


def test_no_words_at_all() -> None:
    """A reference without words: right with an empty transcript, else every word is one too many."""
    assert error_rates(["..."], [""], "en") == (0.0, 0.0)
    assert error_rates([], [], "en") == (0.0, 0.0)
    assert error_rates(["?"], ["no more"], "en").words == 2.0


def test_as_many_transcripts_as_texts() -> None:
    with pytest.raises(ValueError, match="shorter"):
        error_rates(["one", "two"], ["one"], "en")


@pytest.mark.parametrize(
    ("text", "transcript", "wrong", "words"),
    [
        ("five five five", "555", 0, 3),
        ("555", "5 5 5", 0, 3),
        ("one one one", "111", 0, 3),
        ("Room five.", "room five five five five five five", 5, 2),
        ("Room five.", "room 555555", 5, 2),
        ("It is twelve.", "it is 12 12 12 12", 3, 3),
        ("Twelve.", "twelve twelve twelve twelve", 3, 1),
        ("It is 1984.", "it is nineteen eighty four 1984 1984", 2, 3),
        ("It is 2020.", "it is twenty twenty", 0, 3),
        ("no", "no no no no no", 4, 1),
        ("one million", "1,000,000", 0, 1),
        ("the 555th", "the 555th", 0, 2),
        ("3.1111 is 111.5", "3.1111 is 111.5", 0, 3),
    ],
)
def test_a_runaway_counts_each_time(text: str, transcript: str, wrong: int, words: int) -> None:
    found = count_errors(text, transcript, "en")
    assert (found.wrong_words, found.words) == (wrong, words)


def test_the_language_chooses_what_a_word_is() -> None:
    assert count_errors("L'été est là.", "l'ete est la", "fr").wrong_words == 2
    assert count_errors("二十 五", "二十六", "zh") == Errors(3, 1, 5, 1)
    assert count_errors("isn't", "is not", "en").wrong_words == 0
    assert count_errors("isn't", "is not", "nl").wrong_words == 2


def levenshtein(one: list[str], other: list[str]) -> int:
    """By the recurrence, row after row."""
    row = list(range(len(other) + 1))
    for place, word in enumerate(one, start=1):
        before, row = row, [place]
        for column, against in enumerate(other, start=1):
            row.append(min(before[column] + 1, row[-1] + 1, before[column - 1] + (word != against)))
    return row[-1]


letters = st.lists(st.sampled_from("bcdfg"), max_size=8)


@given(letters, letters)
def test_counts_are_levenshtein_distances(one: list[str], other: list[str]) -> None:
    found = count_errors(" ".join(one), " ".join(other), "en")
    assert found.wrong_words == levenshtein(one, other)
    assert found.wrong_characters == levenshtein(list(" ".join(one)), list(" ".join(other)))
    chunks = align(one, other)
    assert [word for chunk in chunks for word in one[chunk.ref_start_idx : chunk.ref_end_idx]] == one
    assert [word for chunk in chunks for word in other[chunk.hyp_start_idx : chunk.hyp_end_idx]] == other


def test_a_rate_is_a_quotient_of_counts() -> None:
    texts, transcripts = ["a bird sang", "in the tree"], ["the bird", "in a tree top"]
    counts = [count_errors(*pair, "en") for pair in zip(texts, transcripts, strict=True)]
    wrong, words = sum(one.wrong_words for one in counts), sum(one.words for one in counts)
    assert math.isclose(error_rates(texts, transcripts, "en").words, wrong / words)
