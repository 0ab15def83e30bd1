"""Character normalization for English: each character is kept, simplified, left out or refused."""

import logging
import re
import unicodedata
from functools import lru_cache, partial
from itertools import pairwise
from typing import Literal

from lina.core.errors import TextError
from lina.tokenizers.english.romanize import FOREIGN_WORD, romanize
from lina.tokenizers.english.symbols import SIGN_NAMES

SILENT = frozenset(".,;:!?…—–-'’‘\"“”«»()")
"""Punctuation: a pause, a tone or nothing; never a word."""
_SIGNS = frozenset("#<>@&%=+^~\\{}[]`*|/_½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞⁄№′″―‒⸺‰º") | SIGN_NAMES.keys()
_ACCENTED = frozenset("ßàáâãäåæçèéêëìíîïñòóôõöøùúûüýÿœ")
"""Letters beyond ASCII that the phonemizer reads as they are; others lose their marks (ő as o)."""
_PLAINER = {
    "ł": "l", "đ": "d", "ħ": "h", "ı": "i", "ð": "th", "þ": "th", "‐": "-", "‑": "-", "⟨": "(", "⟩": ")", "‖": "|",
    "´": "'", "ʼ": "'", "＇": "'", "‚": "‘", "‹": "‘", "›": "’", "‛": "‘", "❛": "‘", "❜": "’", "ˮ": '"',
    "„": "“", "‟": "“", "「": "“", "」": "”", "『": "“", "』": "”", "〝": "“", "〞": "”", "〟": "”", "❝": "“", "❞": "”",
    "｢": "“", "｣": "”", "【": "(", "】": ")", "《": "“", "》": "”", "〈": "“", "〉": "”", "。": ".", "、": ",",
    "｡": ".", "､": ",", "⁄": "/", "∕": "/", "＂": '"',
}  # fmt: skip
"""Letters whose stroke or shape Unicode does not call a mark, and marks that have a common twin."""
_SILENT_LETTERS = frozenset("\u02bb\u02be\u02bf\ua78c")
"""Between letters, such as the okina of Hawaiʻi."""
_INVISIBLE = frozenset("\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u200f\ufe0e\ufe0f")
_EMOJI = "\u231a-\u23ff\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff\u20e3"
_PICTURES = re.compile(f"[{_EMOJI}\U000e0020-\U000e007f]")
_WORD = re.compile(r"[^\W\d_]+")
LONGEST_WORD = 24
"""Maximum letters; the network for unknown words ignores later ones."""

_ROMAN = {code: unicodedata.normalize("NFKC", chr(code)) for code in range(0x2160, 0x2180)}
"""Numerals that are one character each; in upper case they are read by their context."""
_SUPERSCRIPT = re.compile(r"(?<=[\da-zA-Z])(?<![a-zA-Z]{2})(?![²³](?![⁰¹²³⁴-⁹]))([⁺⁻]?)([⁰¹²³⁴-⁹]{1,4})")

log = logging.getLogger("lina")


Unknown = Literal["skip", "refuse"]
"""Policy for characters that are no part of written English: leave them out with a warning, or refuse the text."""


def plain(text: str, unknown: Unknown = "refuse") -> str:
    """Normalize letters and signs to one form each; emoji are left out, with one log line each.

    With ``skip``, words in Cyrillic and Greek letters are romanized, and other characters that are no part of
    written English are left out, each with one warning that names it.

    Raises:
        TextError: such a character, named with its code point, where ``unknown`` is ``refuse``.
    """
    if text.isascii():
        return (
            "".join(_plain_ascii(character, unknown) for character in text)
            if not text.isprintable()
            else text
        )
    if unknown == "refuse":
        for character in text:
            if (
                len(unicodedata.normalize("NFC", character)) > 1
            ):  # it decomposes in NFC: name the character as written
                raise _refusal(character)
    text = _SUPERSCRIPT.sub(_power, unicodedata.normalize("NFC", text).translate(_ROMAN))
    if unknown == "skip":
        text = FOREIGN_WORD.sub(_romanized, text)
    return "".join(map(partial(_plain_character, unknown=unknown), _WORD.sub(_lower_accented, text), text))


def _power(match: re.Match[str]) -> str:
    return f"^{'-' * (match[1] == '⁻')}{unicodedata.normalize('NFKC', match[2])}"


def _romanized(word: re.Match[str]) -> str:
    latin = romanize(word[0])
    if latin is None:
        return word[0]
    remark(f"{excerpt(word[0])} is read as {latin!r}: the voice has no other alphabet")
    return latin


def parted(text: str) -> str:
    """Cut words of more than ``LONGEST_WORD`` letters into parts of nearly equal length."""
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
    return (
        "".join(c if len(c.lower()) > 1 or c in SIGN_NAMES else c.lower() for c in word[0])
        if accented
        else word[0]
    )


def _plain_ascii(character: str, unknown: Unknown) -> str:
    return character if character.isprintable() else _plain_character(character, character, unknown)


def _plain_character(character: str, written: str, unknown: Unknown) -> str:
    """``written`` is the character before it was lowered, for the refusal."""
    if (character.isascii() and character.isalnum()) or character in SILENT or character in _SIGNS:
        return character
    if character.isspace() and not "\x1c" <= character <= "\x1f":
        return " "
    if character in _ACCENTED:
        return character
    if character in _SILENT_LETTERS:
        return ""
    if character in _PLAINER:
        return _PLAINER[character]
    if character in _INVISIBLE:
        return ""
    if _PICTURES.match(character):
        remark(f"{_named(character)} is left out")
        return " "
    twin = unicodedata.normalize("NFKC", character)
    if all((one.isascii() and one.isprintable()) or one in SILENT or one in _SIGNS for one in twin):
        return twin
    if character.isalpha():
        base = "".join(c for c in unicodedata.normalize("NFKD", character) if not unicodedata.combining(c))
        if base.isascii() and base.isalpha():
            return base
    if unknown == "refuse":
        raise _refusal(written)
    remark(f"character {_named(written)} is left out: it cannot be read as English")
    return "" if unicodedata.category(character).startswith("M") else " "


@lru_cache(maxsize=10_000)
def remark(message: str) -> None:
    """Log a message once per process."""
    log.warning("%s", message)


def _refusal(character: str) -> TextError:
    return TextError(f"character {_named(character)} cannot be read as English; remove it")


def _named(character: str) -> str:
    return f"{character!r} (U+{ord(character):04X} {unicodedata.name(character, 'no name')})"


def excerpt(text: str) -> str:
    """At most 40 characters of the text, quoted, on one line."""
    return repr(text if len(text) <= 40 else text[:39] + "…")
