"""Pauses in a text, as in SSML: ``<break time="300ms"/>``, ``<break strength="strong"/>``, ``<break/>``.

Texts are cut at pauses and silence is inserted into the audio, as zero samples instead of frames of codes: the duration
is exact with any codec, the model needs no pause token, and the states of model and decoder do not change, so the
speech after a pause does not depend on its length. As in XML, ``&lt;break`` is no pause but those words.
"""

import re
from collections.abc import Iterator

from lina.core.errors import TextError, did_you_mean

LONGEST_PAUSE = 10.0
"""Longest pause in seconds."""

_LIKE_A_PAUSE = re.compile(r"<break(?=[\s/>]|$)")
_ESCAPED = re.compile(r"&lt;(?=break(?:[\s/>&]|$))")
_ATTRIBUTE = r"""\s+(?:time|strength)\s*=\s*(?:"[^"<>]{0,20}"|'[^'<>]{0,20}')"""
_PAUSE = re.compile(rf"<break(?P<attributes>(?:{_ATTRIBUTE}){{0,2}})\s*(?:/>|>\s*</break\s*>)")
_TIME = re.compile(
    r"""time\s*=\s*["']\s*\+?(?P<time>\d{1,6}(?:\.\d{0,6})?|\.\d{1,6})\s?(?P<unit>ms|s)\s*["']"""
)
_STRENGTH = re.compile(r"""strength\s*=\s*["']\s*(?P<strength>[a-z-]+)\s*["']""")
STRENGTHS = {"none": 0.0, "x-weak": 0.1, "weak": 0.2, "medium": 0.4, "strong": 0.7, "x-strong": 1.2}
"""Seconds; SSML leaves them to the synthesizer. A ``break`` without attributes is medium."""


def has_pause(text: str) -> bool:
    """Test if a text contains a pause, valid or not."""
    return _LIKE_A_PAUSE.search(text) is not None


def literal(text: str) -> str:
    """Unescape ``&lt;break`` in a text without pauses."""
    return _ESCAPED.sub("<", text)


def parts(text: str) -> Iterator[tuple[float, str]]:
    """Yield the parts of a text with the seconds of silence before each; the last may be empty.

    A text without a pause is a single part; otherwise parts without a letter or digit are left out.

    Raises:
        TextError: a pause is invalid or too long.
    """
    if not has_pause(text):
        yield 0.0, text
        return
    seconds, place = 0.0, 0
    while found := _LIKE_A_PAUSE.search(text, place):
        part = text[place : found.start()].strip()
        if any(map(str.isalnum, part)):
            yield seconds, part
            seconds = 0.0
        pause = _PAUSE.match(text, found.start())
        seconds += _seconds(pause, text, found.start())
        assert pause is not None
        place = pause.end()
    part = text[place:].strip()
    yield seconds, part if any(map(str.isalnum, part)) else ""


def _seconds(pause: re.Match[str] | None, text: str, place: int) -> float:
    near = repr(text[place : place + 30])
    not_understood = f'pause {near} at character {place} is not understood; write <break time="300ms"/>'
    if pause is None:
        raise TextError(not_understood)
    time, strength = _TIME.search(pause["attributes"]), _STRENGTH.search(pause["attributes"])
    if time is not None:
        seconds = float(time["time"]) / (1000 if time["unit"] == "ms" else 1)
    elif "time" in pause["attributes"] or (strength is None and pause["attributes"]):
        raise TextError(not_understood)
    else:
        name = "medium" if strength is None else strength["strength"]
        if name not in STRENGTHS:
            hint = did_you_mean(name, list(STRENGTHS))
            raise TextError(f"pause {near} at character {place}: unknown strength {name!r}{hint}")
        seconds = STRENGTHS[name]
    if seconds > LONGEST_PAUSE:
        raise TextError(f"pause {near} at character {place} lasts over {LONGEST_PAUSE:g} s; write several")
    return seconds
