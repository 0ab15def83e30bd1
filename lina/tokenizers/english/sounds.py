"""Phonemes inside a text, one word in brackets: ``[həlˈoʊ]``, with or without blanks between them.

Brackets hold phonemes where they contain a stress mark or a letter of the IPA that English does not write with. All
others, such as ``[sic]`` or ``[1]``, are plain brackets: their words are read.
"""

import re

from lina.core.errors import TextError
from lina.tokenizers.english.characters import excerpt

SOUNDS = "bdfhjklmnpstvwzTðŋɡɹʀʃʒʤʧθAIOQWYaiuyæɐɑɒɔəɛɜɪʊʌᵊᵻ"
"""The tokenizer's own symbols: T is the flap of ``city``, A eɪ, I aɪ, O oʊ, Q əʊ, W aʊ, Y ɔɪ."""
STRESS = "ˈˌ"

_IPA = {
    "oʊ": "O", "əʊ": "Q", "eɪ": "A", "aɪ": "I", "aʊ": "W", "ɔɪ": "Y", "tʃ": "ʧ", "dʒ": "ʤ", "t͡ʃ": "ʧ", "d͡ʒ": "ʤ",
    "g": "ɡ", "r": "ɹ", "e": "ɛ", "o": "O", "ɝ": "ɜɹ", "ɚ": "əɹ", "ɾ": "T", "ʔ": "t", "ɫ": "l", "ɨ": "ᵻ", "x": "k",
    "l̩": "ᵊl", "n̩": "ᵊn", "m̩": "ᵊm", "'": "ˈ", "’": "ˈ", ".": "", "‿": "",
}  # fmt: skip
_AMERICAN = {"iː": "i", "uː": "u", "ɑː": "ɑ", "ɔː": "ɔ", "ɜː": "ɜɹ", "ɒ": "ɑ"}
_BRACKETS = re.compile(r"\\(?P<escaped>[\[\]])|\[(?P<inside>[^\[\]]*)\]|[\[\]]")
_LATIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_LOANED = frozenset("æð")
"""IPA letters that words of a text are written with as well: Encyclopædia."""
_IPA_LETTERS = frozenset(SOUNDS + STRESS + "".join([*_IPA, *_AMERICAN])) - _LATIN - frozenset("'’.‿")

MARK = "\ue000"
"""Placeholder of a word in brackets."""


def take_sounds(sentence: str, british: bool = False) -> tuple[str, list[str]]:
    r"""Replace each word of phonemes in brackets by ``MARK``, and list their symbols.

    Brackets that hold no phonemes become blanks, ``\[`` and ``\]`` become ``(`` and ``)``.

    Raises:
        TextError: brackets with a stress mark or an IPA letter hold something else too (says which and where).
    """
    if place := sentence.find(MARK) + 1:
        raise TextError(
            f"character {MARK!r} (U+E000) at character {place - 1} of {excerpt(sentence)} is reserved; remove it"
        )
    found: list[str] = []

    def replace(match: re.Match[str]) -> str:
        if match["escaped"]:
            return "(" if match["escaped"] == "[" else ")"
        inside = match["inside"]
        if inside is None:
            return " "
        evidence = _IPA_LETTERS.intersection(inside)
        if not evidence:
            # Blanks where words would run together: array[0] is "array zero".
            return f" {inside}" + " " * sentence[match.end() : match.end() + 1].isalnum()
        try:
            found.append(_symbols(inside, f"at character {match.start()} of {excerpt(sentence)}", british))
        except TextError:
            if evidence <= _LOANED:
                return f" {inside}"
            raise
        return MARK

    return _BRACKETS.sub(replace, sentence), found


def _symbols(inside: str, where: str, british: bool) -> str:
    known = _IPA | ({} if british else _AMERICAN)
    text, symbols, place = "".join(inside.split()), "", 0
    while place < len(text):
        length = next((n for n in (3, 2, 1) if text[place : place + n] in known), 0)
        one = text[place : place + max(length, 1)]
        if not length and one not in SOUNDS + STRESS + ("ː" if british else ""):
            raise TextError(
                f"phonemes {excerpt(f'[{inside}]')} {where}: {one!r} is no phoneme; known: {SOUNDS}{STRESS} and usual "
                "IPA; write \\[ and \\] for brackets that are no phonemes"
            )
        symbols += known.get(one, one)
        place += len(one)
    if not set(symbols) & set(SOUNDS):
        raise TextError(
            f"phonemes {excerpt(f'[{inside}]')} {where} hold no sound; write some, such as [həlˈoʊ]"
        )
    return symbols
