"""Text normalization before errors are counted, so that words count and not how they are written.

Whisper's normalizers (Radford et al. 2022, arXiv 2212.04356, appendix C; the package whisper-normalizer), so that rates
can be compared with published ones. Before them, writings that they take for different words, or delete, are brought
into one form; after them, repeated numbers are counted one by one.
"""

import re
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from typing import NamedTuple

REVISION = 1
"""Of the rules of this module: increase it when one changes, and stored transcripts are counted anew."""

_UNSPACED = frozenset({"zh", "ja", "th", "lo", "my"})
"""Languages written without spaces: each character is a word, as in Whisper's evaluation."""

_BRACKETS = re.compile(r"[()\[\]{}<>]")
# More digits than Python converts to a number (4,300) end in an AssertionError of the English normalizer.
_TOO_LONG = re.compile(r"(?:\d,?){1000}")
_HOUR = r"(?<![\d:.,])([01]?\d|2[0-4])"
_ENGLISH_FORMS = tuple(
    (re.compile(pattern, re.IGNORECASE), form)
    for pattern, form in (
        (r"&", " and "),
        (r"(?<=\d)\s+%", "%"),
        (r"\bo'\s?clock\b", "oclock"),
        (r"\b([ap])\.\s?m\b\.?", r"\1m"),
        (rf"{_HOUR}\.([0-5]\d)(?=\s?[ap]m\b)", r"\1:\2"),
        (rf"{_HOUR}:00(?=\s?[ap]m\b)", r"\1"),
        (rf"{_HOUR}:00(?:\s+oclock)?(?![\d:])", r"\1 oclock"),
        (rf"{_HOUR}:([0-5]\d)(?![\d:])", r"\1\2"),
    )
)

_NUMBER = re.compile(r"(?<![\d.])\d{3,}(?![\w.])")
_REPEATED = re.compile(r"(0{0,3}[1-9]\d{0,9}?)\1{2,}")


class WordGroup(NamedTuple):
    """Neighboring words of a text that are normalized independently of the others."""

    text: str
    words: tuple[str, ...]
    """Normalized; empty only where the whole text has no word."""


def normalize(text: str, language: str) -> list[str]:
    """Normalized words of a text.

    English goes through Whisper's English normalizer: lower case, no punctuation, no hesitations, contractions and
    titles in full, numbers as digits, American spelling. It deletes what stands in brackets, though a voice speaks it;
    reads "12 %" as "12"; and has "seven thirty" as "730" but "7:30" as two words, "o'clock" as a zero, "a.m." as two
    words and "&" as none. Brackets are therefore dropped without their content, and percent signs, clock times and "&"
    written in one way, in any text. Other languages go through Whisper's basic normalizer (lower case, no symbols).

    The English normalizer joins numbers that follow each other, so a runaway ("five five five ...") would be one wrong
    word, however long. Digits that stand three times in a row or more are a word each time, in "555" as in "five five
    five"; not zeros alone, since 1000000 is one number.

    Args:
        text: Any text.
        language: Its code in ISO 639-1, such as "en" or "en-US".
    """
    code = re.split("[-_]", language, maxsplit=1)[0].lower()
    text = _BRACKETS.sub(" ", text.replace("’", "'"))
    text = _TOO_LONG.sub(r"\g<0> ", text)
    if code == "en":
        for pattern, form in _ENGLISH_FORMS:
            text = pattern.sub(form, text)
    found = _normalizer(code)(" ".join(text.split())).split()
    # Split first: "¢111" leaves a sign behind.
    words = " ".join(_NUMBER.sub(_split_repeated, word) for word in found).split()
    return [word for word in words if any(character.isalnum() for character in word)]


def word_groups(text: str, language: str) -> list[WordGroup]:
    """Split a text into the smallest groups whose words, one group after the other, are those of ``normalize``.

    "Mr. Smith left at seven thirty." has the groups Mr., Smith, left, at, and seven thirty. (["730"]). A word that
    normalizes to nothing belongs to the group after it, or to the last one.
    """
    written, rest = text.split(), normalize(text, language)
    groups: list[WordGroup] = []
    begin = 0
    for end in range(1, len(written)):
        head = normalize(" ".join(written[begin:end]), language)
        if not head or rest[: len(head)] != head or len(rest) == len(head):
            continue
        tail = normalize(" ".join(written[end:]), language)
        if head + tail == rest:
            groups.append(WordGroup(" ".join(written[begin:end]), tuple(head)))
            begin, rest = end, tail
    if written:
        groups.append(WordGroup(" ".join(written[begin:]), tuple(rest)))
    return groups


def identity() -> str:
    """Name and versions of the normalization, on which stored error rates depend."""
    return f"lina {REVISION}, whisper-normalizer {version('whisper-normalizer')}"


@cache
def _normalizer(code: str) -> Callable[[str], str]:
    # Imported where it is needed: speaking and training never are.
    if code == "en":
        from whisper_normalizer.english import EnglishTextNormalizer

        english: Callable[[str], str] = EnglishTextNormalizer()
        return english
    from whisper_normalizer.basic import BasicTextNormalizer

    basic: Callable[[str], str] = BasicTextNormalizer(split_letters=code in _UNSPACED)
    return basic


def _split_repeated(number: re.Match[str]) -> str:
    def apart(run: re.Match[str]) -> str:
        # Whisper's writes a lone 1 in letters.
        one = "one" if run[1] == "1" else run[1]
        return f" {' '.join([one] * (len(run[0]) // len(run[1])))} "

    return _REPEATED.sub(apart, number[0])
