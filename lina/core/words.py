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


def error_rates(texts: Sequence[str], heard: Sequence[str]) -> ErrorRates:
    """Levenshtein errors over reference length, after ``spelling`` on both sides.

    Texts without any word count as one: whatever is heard is wrong, and nothing heard is right.
    """
    wanted, got = [spelling(text) for text in texts], [spelling(text) for text in heard]
    if not any(wanted):
        return ErrorRates(float(sum(len(text.split()) for text in got)), float(sum(map(len, got))))
    from torchmetrics.functional.text import char_error_rate, word_error_rate

    return ErrorRates(float(word_error_rate(got, wanted)), float(char_error_rate(got, wanted)))


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
