"""The characters of written English: each is kept, brought to a plainer form, left out or refused by name."""

import logging
import re
import unicodedata
from functools import lru_cache
from itertools import pairwise

from lina.core.errors import TextError
from lina.tokenizers.english.symbols import SAID

SILENT = frozenset(".,;:!?…—–-'’‘\"“”«»()")
"""Punctuation: a pause, a tone or nothing; never a word."""
_SIGNS = frozenset("#<>@&%=+^~\\{}[]`*|/_½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞⁄№′″―‒⸺‰º") | SAID.keys()
_ACCENTED = frozenset("ßàáâãäåæçèéêëìíîïñòóôõöøùúûüýÿœ")
"""Letters beyond ASCII that the phonemizer reads as they are; others lose their marks (ő as o)."""
_PLAINER = {"ł": "l", "đ": "d", "ħ": "h", "ı": "i", "ð": "th", "þ": "th",
    "‐": "-", "‑": "-", "„": "“", "‚": "‘", "‹": "‘", "›": "’",
            "‛": "‘", "‟": "“", "´": "'", "ʼ": "'", "＇": "'", "⟨": "(", "⟩": ")", "‖": "|", "–": "–"}  # fmt: skip
"""Letters whose stroke or shape Unicode does not call a mark, and marks that have a common twin."""
_INVISIBLE = frozenset("\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u200f\ufe0e\ufe0f")
_EMOJI = "\u231a-\u23ff\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff\u20e3"
_PICTURES = re.compile(f"[{_EMOJI}\U000e0020-\U000e007f]")
_WORD = re.compile(r"[^\W\d_]+")
LONGEST_WORD = 24
"""Letters; the network for unknown words overlooks those after it."""

log = logging.getLogger("lina")


def plain(text: str) -> str:
    """The text with one form for each letter and sign; emoji are left out, which is logged once for each.

    Raises:
        TextError: a character that is no part of written English (named with its code point).
    """
    for character in text:
        if len(unicodedata.normalize("NFC", character)) > 1:  # it falls apart there: name what was written
            raise _refusal(character)
    text = unicodedata.normalize("NFC", text)
    return "".join(map(_plain_character, _WORD.sub(_lower_accented, text), text))


def parted(text: str) -> str:
    """With words of more than ``LONGEST_WORD`` letters cut into parts of nearly the same length."""
    return _WORD.sub(_parted, text)


def _parted(word: re.Match[str]) -> str:
    letters = word[0]
    parts = -(-len(letters) // LONGEST_WORD)
    if parts == 1:
        return letters
    remark(f"{excerpt(letters)} is read in {parts} parts: it has more than {LONGEST_WORD} letters")
    bounds = [len(letters) * place // parts for place in range(parts + 1)]
    return " ".join(letters[start:end] for start, end in pairwise(bounds))


def _lower_accented(word: re.Match[str]) -> str:
    """``CAFÉ`` as ``café``: the phonemizer knows accented letters in lower case only."""
    accented = any(not character.isascii() and character.isupper() for character in word[0])
    # İ alone becomes two characters in lower case; it is read as I further on.
    return "".join(c if len(c.lower()) > 1 else c.lower() for c in word[0]) if accented else word[0]


def _plain_character(character: str, written: str) -> str:
    """``written`` is the character before it was lowered, for the refusal."""
    if (character.isascii() and character.isalnum()) or character in SILENT or character in _SIGNS:
        return character
    if character.isspace() and not "\x1c" <= character <= "\x1f":
        return " "
    if character in _ACCENTED:
        return character
    if character in _PLAINER:
        return _PLAINER[character]
    if character in _INVISIBLE:
        return ""
    if _PICTURES.match(character):
        remark(f"{character!r} (U+{ord(character):04X} {unicodedata.name(character, 'no name')}) is left out")
        return " "
    twin = unicodedata.normalize("NFKC", character)
    if all((one.isascii() and one.isprintable()) or one in SILENT or one in _SIGNS for one in twin):
        return twin
    if character.isalpha():
        base = "".join(c for c in unicodedata.normalize("NFKD", character) if not unicodedata.combining(c))
        if base.isascii() and base.isalpha():
            return base
    raise _refusal(written)


@lru_cache(maxsize=10_000)
def remark(message: str) -> None:
    """Log it, unless that has been done before."""
    log.warning("%s", message)


def _refusal(character: str) -> TextError:
    name = unicodedata.name(character, "no name")
    return TextError(
        f"character {character!r} (U+{ord(character):04X} {name}) cannot be read as English; remove it"
    )


def excerpt(text: str) -> str:
    """At most 40 characters of the text, quoted, on one line."""
    return repr(text if len(text) <= 40 else text[:39] + "…")
