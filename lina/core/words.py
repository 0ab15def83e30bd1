"""Word and character error rates between a text and what a recogniser heard, on one spelling of both."""

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

_ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]


class ErrorRates(NamedTuple):
    """Of all texts together: 0.25 is one wrong word (character) in four; may exceed 1."""

    words: float
    characters: float


class Errors(NamedTuple):
    """Of one text."""

    words: int
    """Of the text; at least 1, so that whatever is heard of a text without any word is wrong."""
    wrong_words: int
    """Substituted, missing and extra ones."""
    characters: int
    wrong_characters: int


def count_errors(text: str, heard: str) -> Errors:
    """Levenshtein errors, after ``spelling`` on both sides."""
    wanted, got = spelling(text), spelling(heard)
    if not wanted:
        return Errors(1, len(got.split()), 1, len(got))
    from torchmetrics.functional.text import char_error_rate, word_error_rate

    words, characters = len(wanted.split()), len(wanted)
    return Errors(
        words,
        round(float(word_error_rate(got, wanted)) * words),
        characters,
        round(float(char_error_rate(got, wanted)) * characters),
    )


def error_rates(texts: Sequence[str], heard: Sequence[str]) -> ErrorRates:
    """Errors over the length of all texts together, as ``count_errors`` counts them."""
    counted = [count_errors(text, one) for text, one in zip(texts, heard, strict=True)]
    if not counted:
        return ErrorRates(0.0, 0.0)
    words, wrong_words, characters, wrong_characters = map(sum, zip(*counted, strict=True))
    return ErrorRates(wrong_words / words, wrong_characters / characters)


def spelling(text: str) -> str:
    """Lower case, numbers up to 999,999 in words, no punctuation but apostrophes inside words."""
    text = (
        unicodedata.normalize("NFC", text)
        .lower()
        .replace("’", "'")
        .replace("&", " and ")
        .replace("%", " percent ")
    )
    text = re.sub(r"(?<=\d),(?=\d{3})", "", text)
    text = re.sub(r"\d+", lambda match: f" {number_words(match.group())} ", text)
    words = re.findall(r"[^\W_]+(?:'[^\W_]+)*", text)
    return " ".join(words)


def number_words(digits: str) -> str:
    """Digits as English words: as a number up to 999,999, one by one beyond that or after a leading zero."""
    if len(digits) > 6 or (len(digits) > 1 and digits[0] == "0"):
        return " ".join(_ONES[int(digit)] for digit in digits)
    return _number(int(digits))


def _number(value: int) -> str:
    if value < 20:
        return _ONES[value]
    for size, name in ((1000, "thousand"), (100, "hundred")):
        if value >= size:
            rest = value % size
            return f"{_number(value // size)} {name}" + (f" {_number(rest)}" if rest else "")
    return _TENS[value // 10 - 2] + (f" {_ONES[value % 10]}" if value % 10 else "")
