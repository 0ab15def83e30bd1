"""English made ready for a phonemizer: each character is read, silent by convention, or refused by name."""

import re
import unicodedata

from lina.core.errors import TextError

SILENT = frozenset(".,;:!?…—–-'’‘\"“”«»()")
"""Punctuation: a pause, a tone or nothing; never a word."""
_READ = frozenset("%&+/=@#<>^~§©°±²³½¼¾×÷¢¶")
CURRENCY = frozenset("$£€¥")
_ACCENTED = frozenset("ßàáâãäåæçèéêëìíîïñòóôõöøùúûüýÿœ")
"""Letters beyond ASCII that the phonemizer reads as they are; others lose their marks (ő as o)."""

_UNMARKED = {"ł": "l", "đ": "d", "ħ": "h", "ı": "i", "ð": "th", "þ": "th"}
"""Letters whose stroke or shape Unicode does not call a mark."""

_AMOUNT = re.compile(r"(?<![\w$£€¥/–-])[$£€¥]\s?(?=[\d.])(?:\d[\d,]*)?(?:\.\d+)?[kKmMbB]?(?![\w$£€¥/–-])")
_WORD = re.compile(r"[^\W\d_]+")
_LONG_WORD = re.compile(r"[^\W\d_]{25,}")
_LONG_NUMBER = re.compile(r"(?:\d,?){16,}")


def tidy(text: str) -> str:
    """The text in NFC, with letters that the phonemizer does not know reduced to those it knows.

    Raises:
        TextError: a character that is no part of written English (named with its code point), a currency sign
            that stands before no number, a word of more than 24 letters or a number of more than 15 digits.
    """
    for character in text:
        if len(unicodedata.normalize("NFC", character)) > 1:  # it falls apart there: name what was written
            raise _refusal(character)
    written = unicodedata.normalize("NFC", text)
    tidied = "".join(map(_tidy_character, _WORD.sub(_lower_accented, written), written))
    for sign in CURRENCY.intersection(_AMOUNT.sub("", tidied)):
        raise TextError(
            f"currency sign {sign!r} in {excerpt(tidied)} is not before a number; write {sign}5, or use words"
        )
    for pattern, what in (
        (_LONG_WORD, "a word of more than 24 letters"),
        (_LONG_NUMBER, "more than 15 digits"),
    ):
        if found := pattern.search(tidied):
            raise TextError(
                f"{excerpt(found[0])} is {what}, which cannot be read; write it in parts or in words"
            )
    return tidied


def _lower_accented(word: re.Match[str]) -> str:
    """``CAFÉ`` as ``café``: the phonemizer knows accented letters in lower case only."""
    accented = any(not character.isascii() and character.isupper() for character in word[0])
    # İ alone becomes two characters in lower case; it is read as I further on.
    return "".join(c if len(c.lower()) > 1 else c.lower() for c in word[0]) if accented else word[0]


def _tidy_character(character: str, written: str) -> str:
    """``written`` is the character before it was lowered, for the refusal."""
    if (character.isascii() and character.isalnum()) or character.isspace():
        return character
    if character in SILENT or character in _READ or character in CURRENCY or character in _ACCENTED:
        return character
    if character in _UNMARKED:
        return _UNMARKED[character]
    if character.isalpha():
        base = "".join(c for c in unicodedata.normalize("NFKD", character) if not unicodedata.combining(c))
        if base.isascii() and base.isalpha():
            return base
    raise _refusal(written)


def _refusal(character: str) -> TextError:
    name = unicodedata.name(character, "no name")
    return TextError(
        f"character {character!r} (U+{ord(character):04X} {name}) cannot be read as English; remove it"
    )


def excerpt(text: str) -> str:
    """At most 40 characters of the text, quoted, on one line."""
    return repr(text if len(text) <= 40 else text[:39] + "…")
