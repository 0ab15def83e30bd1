"""Phonemes given inside a text, one word in brackets: ``[həlˈoʊ]``, with or without blanks between them."""

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
_OVERRIDE = re.compile(r"\\(?P<escaped>[\[\]])|\[(?P<inside>[^\[\]]*)\]|(?P<stray>[\[\]])")

MARK = "\ue000"
"""Stands where a word in brackets stood."""


def take_sounds(sentence: str, british: bool = False) -> tuple[str, list[str]]:
    r"""The sentence with ``MARK`` for each word in brackets, and their symbols; ``\[`` and ``\]`` as ``(`` and ``)``.

    Raises:
        TextError: a bracket without its twin, or what stands in brackets is no phonemes (says which and where).
    """
    if place := sentence.find(MARK) + 1:
        raise TextError(
            f"character {MARK!r} (U+E000) at character {place - 1} of {excerpt(sentence)} means nothing; remove it"
        )
    found: list[str] = []

    def taken(match: re.Match[str]) -> str:
        where = f"at character {match.start()} of {excerpt(sentence)}"
        if match["escaped"]:
            return "(" if match["escaped"] == "[" else ")"
        if match["stray"]:
            raise TextError(
                f"bracket {match[0]!r} {where} stands alone; write \\{match[0]} for the sign itself"
            )
        found.append(_symbols(match["inside"], where, british))
        return MARK

    return _OVERRIDE.sub(taken, sentence), found


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
