r"""Emoticons, drawn with punctuation: ``:-)``, ``^_^``, ``¯\_(ツ)_/¯``. They are left out, as emoji are."""

import re

_DRAWN = re.compile(
    r"[:;=][-'^o]?[)(\]\[DPpOo/\\|*$@]{1,3}"  # :-) ;P
    r"|[)(][-'^]?[:;=]"  # (:
    r"|[xX]D|<3|</3"
    r"|[\^>oOTtUu;*~=-]_+[\^<oOTtUu;*~=-]|\^\^"  # o_O ^_^
)
_WORDS = re.compile(r"[A-Za-z\d]{2,}")
_ARMS = re.compile(r"[A-Za-z\d]")
"""No arms of a face: ``0(°)`` is a number."""
_TOKEN = re.compile(r"(?<!\S)\S{2,24}(?!\S)")
_CLOSING = ".,!?…"


def strip_emoticons(text: str) -> str:
    """Replace emoticons that stand alone between blanks or before a stop by a blank."""
    return _TOKEN.sub(_without, text)


def _without(match: re.Match[str]) -> str:
    token = match[0]
    drawing = token.rstrip(_CLOSING)
    return " " + token[len(drawing) :] if _DRAWN.fullmatch(drawing) or _is_kaomoji(drawing) else token


def _is_kaomoji(token: str) -> bool:
    """A face in parentheses, with characters beyond ASCII and without words: (╯°□°)╯︵."""
    opening, closing = token.find("("), token.rfind(")")
    if not 0 <= opening < closing or _WORDS.search(token) or _ARMS.search(token[:opening] + token[closing:]):
        return False
    face, arms = token[opening + 1 : closing], token[:opening] + token[closing + 1 :]
    return not face.isascii() and bool(arms or not face.isalpha())
