import math

import pytest

from lina.core.words import Errors, count_errors, error_rates, spelling


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Hello, World!", "hello world"),
        ("That’s the dogs' bowl; isn't it?", "that is the dogs bowl is not it"),
        ("'quoted'", "quoted"),
        ("one-way_street", "1 way street"),
        ("1,234 calls", "1234 calls"),
        ("50% & more", "50 percent and more"),
        ("mp3s", "mp 3 s"),
        ("naïve café", "naive cafe"),
        ("nai\u0308ve cafe\u0301", "naive cafe"),
        ("Um, (laughs) [noise] hello <b>", "hello"),
        ("Mr. and Mrs. Smith", "mister and missus smith"),
        ("I won't, can't, cannot; let's", "i will not can not can not let us"),
        ("o'clock", "o'clock"),
        ("... !", ""),
        ("", ""),
        ("  a \n b\t", "a b"),
    ],
)
def test_spelling(text: str, wanted: str) -> None:
    assert spelling(text) == wanted
    assert spelling(wanted) == wanted, "spelt once is spelt"


@pytest.mark.parametrize(
    ("said", "written", "wanted"),
    [
        ("Press one or twenty.", "Press 1 or 20.", "press 1 or 20"),
        ("nineteen eighty-four", "1984", "1984"),
        ("twenty twenty-five", "two thousand and twenty-five", "2025"),
        ("five five five one two three four", "555-1234", "5 5 5 1234"),
        ("five thirty", "5:30", "530"),
        ("one hundred and one", "101", "101"),
        ("one million two hundred thousand and three", "1,200,003", "1200003"),
        ("twelve thousand", "12 thousand", "12000"),
        ("three point one four", "3.14", "3.14"),
        ("zero point twenty-five", "0.25", "0.25"),
        ("the twenty-first", "the 21st", "the 21st"),
        ("the twelfth, the fortieth", "the 12th, the 40th", "the 12th the 40th"),
        ("three and a half million", "3 and a half million", "3 and a half 1000000"),
        ("five dollars and fifty cents", "$5.50", "5 dollars and 50 cents"),
        ("three million pounds", "£3 million", "3000000 pounds"),
        ("ten per cent", "10%", "10 percent"),
        ("two and three", "2 and 3", "2 and 3"),
        ("zero zero seven", "007", "007"),
        ("point taken and a hundred", "Point taken, and a hundred!", "point taken and a 100"),
    ],
)
def test_numbers_said_and_written_are_the_same(said: str, written: str, wanted: str) -> None:
    assert spelling(said) == wanted
    assert spelling(written) == wanted
    assert spelling(wanted) == wanted


@pytest.mark.parametrize(
    ("text", "heard", "wrong", "words"),
    [
        ("five five five", "555", 0, 3),
        ("555", "5 5 5", 0, 3),
        ("Call 555-1234.", "call five five five one two three four", 0, 5),
        ("Room five.", "room five five five five five five", 5, 2),
        ("Room five.", "room 555555", 5, 2),
        ("It is twelve.", "it is 12 12 12 12", 3, 3),
        ("It is 1984.", "it is nineteen eighty four 1984 1984", 2, 3),
        ("It is 2020.", "it is twenty twenty", 0, 3),
        ("one million", "1,000,000", 0, 1),
        ("the 555th", "the 555th", 0, 2),
        ("3.1111 is 111.5", "3.1111 is 111.5", 0, 3),
        ("zero one zero one zero one", "010101", 0, 3),
    ],
)
def test_a_runaway_of_numbers_counts_each_time(text: str, heard: str, wrong: int, words: int) -> None:
    found = count_errors(text, heard)
    assert (found.wrong_words, found.words) == (wrong, words)
    assert spelling(spelling(heard)) == spelling(heard)


def test_errors_of_a_text_are_whole_numbers() -> None:
    assert count_errors("The cat sat on", "the bat sat") == Errors(4, 2, 14, 4)
    assert count_errors("...", "one two") == Errors(1, 1, 1, 2)


def test_error_rates_by_hand() -> None:
    rates = error_rates(["The cat sat on", "a mat"], ["the bat sat", "a mat."])
    assert math.isclose(rates.words, 2 / 6, rel_tol=1e-6)
    assert math.isclose(rates.characters, 4 / 19, rel_tol=1e-6)


def test_the_same_words_spelt_otherwise_are_no_errors() -> None:
    assert error_rates(["It's 12 o’clock!"], ["it is TWELVE o'clock"]) == (0.0, 0.0)


def test_rates_are_of_all_texts_together() -> None:
    """One wrong word in five, not the mean of 1 and 0."""
    assert math.isclose(
        error_rates(["no", "these are more words"], ["yes", "these are more words"]).words, 0.2, rel_tol=1e-6
    )


def test_nothing_heard_is_all_wrong_and_too_much_is_worse() -> None:
    assert error_rates(["one two"], [""]) == (1.0, 1.0)
    assert error_rates(["no"], ["no more words"]).words == 2.0


def test_no_words_at_all() -> None:
    """A reference without words: right if nothing is heard, else every word heard is one too many."""
    assert error_rates(["..."], [""]) == (0.0, 0.0)
    assert error_rates([], []) == (0.0, 0.0)
    assert error_rates(["?"], ["no more"]).words == 2.0
