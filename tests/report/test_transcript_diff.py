import pytest
from hypothesis import given
from hypothesis import strategies as st

from lina.evaluation.error_rates import count_errors
from lina.evaluation.normalization import normalize
from lina.report.transcript_diff import Mark, compare
from tests.evaluation.test_normalization import languages, texts


def marks(text: str, transcript: str, language: str = "en") -> list[tuple[str, str, str]]:
    return [(mark.kind, mark.reference, mark.transcript) for mark in compare(text, transcript, language)]


def test_words_without_error_are_unmarked_and_stay_as_written() -> None:
    assert marks(
        "Mr. Smith left at 7:30, in 1984.", "mister smith left at seven thirty in nineteen eighty-four"
    ) == [
        ("right", "Mr.", "mister"),
        ("right", "Smith", "smith"),
        ("right", "left", "left"),
        ("right", "at", "at"),
        ("right", "7:30,", "seven thirty"),
        ("right", "in", "in"),
        ("right", "1984.", "nineteen eighty-four"),
    ]


def test_wrong_missing_and_extra_words() -> None:
    assert marks("press the star key now please", "press a the star now peas") == [
        ("right", "press", "press"),
        ("extra", "", "a"),
        ("right", "the", "the"),
        ("right", "star", "star"),
        ("missing", "key", ""),
        ("right", "now", "now"),
        ("wrong", "please", "peas"),
    ]


@pytest.mark.parametrize(
    ("text", "transcript", "found"),
    [
        ("", "", []),
        ("b c", "", [Mark("missing", "b", ""), Mark("missing", "c", "")]),
        ("", "b", [Mark("extra", "", "b")]),
        ("?", "!", [Mark("right", "?", "!")]),
        ("?", "b", [Mark("extra", "", "b")]),
        ("at 7:30", "at 7:40", [Mark("right", "at", "at"), Mark("wrong", "7:30", "7:40")]),
        ("555 now", "5 now", [Mark("wrong", "555", "5"), Mark("right", "now", "now")]),
        ("Smith's", "smith is here", [Mark("right", "Smith's", "smith is"), Mark("extra", "", "here")]),
        ("isn't", "is", [Mark("wrong", "isn't", "is")]),
    ],
)
def test_ends_and_groups(text: str, transcript: str, found: list[Mark]) -> None:
    assert compare(text, transcript, "en") == found


def test_the_language_is_that_of_the_error_rate() -> None:
    assert marks("isn't", "is not", "nl")[0][0] == "wrong"


@given(texts, texts, languages)
def test_marks_are_those_of_the_error_rate(text: str, transcript: str, language: str) -> None:
    """Rate 0 if and only if nothing is marked; never more marks than errors; and nothing is lost."""
    found, errors = compare(text, transcript, language), count_errors(text, transcript, language)
    wrong = [mark for mark in found if mark.kind != "right"]
    assert bool(wrong) == bool(errors.wrong_words)
    assert len(wrong) <= errors.wrong_words
    for side, written in (("reference", text), ("transcript", transcript)):
        if normalize(written, language):
            shown = " ".join(getattr(mark, side) for mark in found if getattr(mark, side))
            assert shown == " ".join(written.split())


plain = st.lists(st.sampled_from(["bird", "cat", "dog", "fox", "hen"]), max_size=8).map(" ".join)


@given(plain, plain)
def test_each_error_of_single_words_is_a_mark(text: str, transcript: str) -> None:
    wrong = [mark for mark in compare(text, transcript, "en") if mark.kind != "right"]
    assert len(wrong) == count_errors(text, transcript, "en").wrong_words
