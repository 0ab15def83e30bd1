import math

import pytest

from lina.core.words import error_rates, number_words, spelling


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Hello, World!", "hello world"),
        ("That’s the dogs' bowl; isn't it?", "that's the dogs bowl isn't it"),
        ("'quoted'", "quoted"),
        ("one-two_three", "one two three"),
        ("Press 1 or 20.", "press one or twenty"),
        ("1,234 calls", "one thousand two hundred thirty four calls"),
        ("1, 234", "one two hundred thirty four"),
        ("50% & more", "fifty percent and more"),
        ("3.5", "three five"),
        ("mp3s", "mp three s"),
        ("naïve café", "naïve café"),
        ("nai\u0308ve cafe\u0301", "naïve café"),
        ("... !", ""),
        ("", ""),
        ("  a \n b\t", "a b"),
    ],
)
def test_spelling(text: str, wanted: str) -> None:
    assert spelling(text) == wanted
    assert spelling(wanted) == wanted, "spelt once is spelt"


@pytest.mark.parametrize(
    ("digits", "wanted"),
    [
        ("0", "zero"),
        ("7", "seven"),
        ("13", "thirteen"),
        ("20", "twenty"),
        ("99", "ninety nine"),
        ("100", "one hundred"),
        ("101", "one hundred one"),
        ("999", "nine hundred ninety nine"),
        ("1000", "one thousand"),
        ("12034", "twelve thousand thirty four"),
        ("999999", "nine hundred ninety nine thousand nine hundred ninety nine"),
        ("1000000", "one zero zero zero zero zero zero"),
        ("007", "zero zero seven"),
        ("00", "zero zero"),
    ],
)
def test_number_words(digits: str, wanted: str) -> None:
    assert number_words(digits) == wanted


def test_numbers_up_to_a_million_are_all_different() -> None:
    numbers = [*range(2000), *range(2000, 1_000_000, 997)]
    assert len({number_words(str(n)) for n in numbers}) == len(numbers)


def test_error_rates_by_hand() -> None:
    rates = error_rates(["The cat sat on", "a mat"], ["the bat sat", "a mat."])
    assert math.isclose(rates.words, 2 / 6, rel_tol=1e-6)
    assert math.isclose(rates.characters, 4 / 19, rel_tol=1e-6)


def test_the_same_words_spelt_otherwise_are_no_errors() -> None:
    assert error_rates(["It's 12 o’clock!"], ["it's TWELVE o'clock"]) == (0.0, 0.0)


def test_rates_are_of_all_texts_together() -> None:
    """One wrong word in five, not the mean of 1 and 0."""
    assert math.isclose(
        error_rates(["no", "one two three four"], ["yes", "one two three four"]).words, 0.2, rel_tol=1e-6
    )


def test_nothing_heard_is_all_wrong_and_too_much_is_worse() -> None:
    assert error_rates(["one two"], [""]) == (1.0, 1.0)
    assert error_rates(["one"], ["one two three"]).words == 2.0


def test_no_words_at_all() -> None:
    """A reference without words: right if nothing is heard, else every word heard is one too many."""
    assert error_rates(["..."], [""]) == (0.0, 0.0)
    assert error_rates([], []) == (0.0, 0.0)
    assert error_rates(["?"], ["one two"]).words == 2.0
