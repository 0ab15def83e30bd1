"""Validation of texts before any tokenizer."""

import unicodedata

from lina.core.errors import TextError


def check_text(text: str, limit: int, where: str = "text") -> None:
    """Refuse texts that cannot be spoken; ``limit`` is in characters.

    Raises:
        TextError: empty or blank, without a letter or digit, longer than ``limit``, or with control characters, lone
            surrogates, code points that are no characters, or U+FFFD (the trace of wrong decoding).
    """
    if not text.strip():
        raise TextError(f"{where} is {'blank' if text else 'empty'}; write at least one word")
    if len(text) > limit:
        raise TextError(f"{where} has {len(text)} characters, the limit is {limit}; split it into sentences")
    for place, character in enumerate(text):
        kind = _unspeakable(character)
        if kind:
            near = "".join(c for c in text[max(0, place - 10) : place + 11] if not _unspeakable(c)).strip()
            raise TextError(
                f"{where} has {kind} U+{ord(character):04X} at character {place}, near {near!r}; remove it"
            )
    if not any(map(str.isalnum, text)):
        raise TextError(f"{where} {text.strip()[:40]!r} has no letter or digit; write at least one word")


def _unspeakable(character: str) -> str:
    if character.isprintable() and character != "\ufffd":
        return ""
    category = unicodedata.category(character)
    if category == "Cc" and character not in "\t\n\r":
        return "the control character"
    if category == "Cs":
        return "the lone surrogate"
    if ord(character) & 0xFFFE == 0xFFFE or 0xFDD0 <= ord(character) <= 0xFDEF:
        return "the code point that is no character"
    return "the replacement character (decoded wrongly)" if character == "\ufffd" else ""
