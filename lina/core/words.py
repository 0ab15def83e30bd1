"""Word and character error rates between a text and what a recogniser heard, on one spelling of both."""

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from lina.core.number_words import digits

_CURRENCIES = ((r"\$", "dollars", "cents"), ("£", "pounds", "pence"), ("€", "euros", "cents"))
_HESITATIONS = {"hmm", "mm", "mhm", "mmm", "uh", "um"}
_WORDS = {
    "mr": "mister",
    "mrs": "missus",
    "dr": "doctor",
    "st": "saint",
    "prof": "professor",
    "capt": "captain",
    "gov": "governor",
    "gen": "general",
    "sen": "senator",
    "rep": "representative",
    "pres": "president",
    "rev": "reverend",
    "lt": "lieutenant",
    "col": "colonel",
    "jr": "junior",
    "sr": "senior",
    "okay": "ok",
}
_CONTRACTIONS = tuple(
    (re.compile(pattern), full)
    for pattern, full in (
        (r"\blet's\b", "let us"),
        (r"\bwon't\b", "will not"),
        (r"\b(?:can't|cannot)\b", "can not"),
        (r"\bain't\b", "aint"),
        (r"\bma'am\b", "madam"),
        (r"\by'all\b", "you all"),
        (r"\bwanna\b", "want to"),
        (r"\bgonna\b", "going to"),
        (r"\bgotta\b", "got to"),
        (r"n't\b", " not"),
        (r"'re\b", " are"),
        (r"'s\b", " is"),
        (r"'d\b", " would"),
        (r"'ll\b", " will"),
        (r"'ve\b", " have"),
        (r"'m\b", " am"),
    )
)


_RUNAWAY = re.compile(r"(?<![\d.])\d{3,}(?![\w.])")
_SAID_AGAIN = re.compile(r"(0{0,3}[1-9]\d{0,9}?)\1{2,}")


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
    """English text as Whisper's normaliser would have it (Radford et al. 2022, appendix C), so that only words count.

    Lower case without punctuation and accents; no hesitations, and nothing that stands in brackets; contractions and
    titles in full; numbers as digits (``lina.core.number_words``), with the names of currencies after them. Its list of
    British spellings is not here.

    Whisper's writes numbers that follow each other as one word, and so would a runaway ("five five five ...") be one
    wrong word, however long. Where the same digits stand three times in a row or more, each time is a word here, in
    "555" as in "five five five". Not zeros alone: 1000000 is one number.
    """
    text = unicodedata.normalize("NFKD", text).lower().replace("’", "'")
    text = re.sub("[\u0300-\u036f]", "", text)
    text = re.sub(r"\[[^\]]*\]|\([^)]*\)|<[^>]*>", " ", text)
    text = re.sub(r"(?<=\d),(?=\d{3})", "", text)
    for sign, name, part in _CURRENCIES:
        text = re.sub(rf"{sign}\s*(\d+)\.(\d\d)\b", rf" \1 {name} and \2 {part} ", text)
        text = re.sub(rf"{sign}\s*(\d+(?:\.\d+)?)((?: (?:thousand|[mb]illion)\b)?)", rf" \1\2 {name} ", text)
    text = text.replace("&", " and ").replace("%", " percent ").replace("per cent", "percent")
    for pattern, full in _CONTRACTIONS:
        text = pattern.sub(full, text)
    words = re.findall(r"\d+\.\d+(?!\w)|\d+(?:st|nd|rd|th)\b|\d+|[^\W\d_]+(?:'[^\W\d_]+)*", text)
    said = " ".join(digits([_WORDS.get(word, word) for word in words if word not in _HESITATIONS]))
    return _RUNAWAY.sub(_each_time, said)


def _each_time(number: re.Match[str]) -> str:
    apart = _SAID_AGAIN.sub(lambda run: f" {' '.join([run[1]] * (len(run[0]) // len(run[1])))} ", number[0])
    return " ".join(apart.split())
