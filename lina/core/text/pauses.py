"""Marks in a text: pauses, as in SSML (``<break time="300ms"/>``, ``<break/>``), and changes of the speaking rate.

Texts are cut at marks, and silence is inserted into the audio, as zero samples instead of frames of codes: the duration
is exact with any codec, the model needs no pause token, and the states of model and decoder do not change, so the
speech after a pause does not depend on its length. As in XML, ``&lt;break`` is no pause but those words.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from lina.core.errors import TextError, did_you_mean

LONGEST_PAUSE = 10.0
"""Longest pause in seconds."""

MIN_RATE, MAX_RATE = 0.4, 2.5
"""Speaking rates at which speech stays clear; 1 is the voice's own."""

_RATE = re.compile(r'<prosody rate="(?P<rate>\d{1,3}(?:\.\d{1,8})?)"/>')
_MARK = re.compile(rf"<break(?=[\s/>]|$)|{_RATE.pattern}")
_LIKE_A_MARK = re.compile(r"<(?=(?:break|prosody)\b)")
_ESCAPED = re.compile(r"&lt;(?=(?:break|prosody)(?:[\s/>&]|$))")
_ATTRIBUTE = r"""\s+(?:time|strength)\s*=\s*(?:"[^"<>]{0,20}"|'[^'<>]{0,20}')"""
_PAUSE = re.compile(rf"<break(?P<attributes>(?:{_ATTRIBUTE}){{0,2}})\s*(?:/>|>\s*</break\s*>)")
_TIME = re.compile(
    r"""time\s*=\s*["']\s*\+?(?P<time>\d{1,6}(?:\.\d{0,6})?|\.\d{1,6})\s?(?P<unit>ms|s)\s*["']"""
)
_STRENGTH = re.compile(r"""strength\s*=\s*["']\s*(?P<strength>[a-z-]+)\s*["']""")
PARAGRAPH_SECONDS = 0.4
PARAGRAPH_PAUSE = f'<break time="{1000 * PARAGRAPH_SECONDS:.0f}ms"/>'
"""Added before a paragraph, to the silence that a model makes between two sentences."""
STRENGTHS = {"none": 0.0, "x-weak": 0.1, "weak": 0.2, "medium": 0.4, "strong": 0.7, "x-strong": 1.2}
"""Seconds; SSML leaves them to the synthesizer. A ``break`` without attributes is medium."""


class TextPart(NamedTuple):
    """A part of a text between two marks."""

    seconds: float
    """Silence before it."""
    rate: float | None
    """Speaking rate from here on, 1 is the voice's own; None: as before."""
    text: str
    """Empty only for the last part, or without any mark."""


def rate_mark(rate: float) -> str:
    """Mark of a text from which on the speaking rate is ``rate``."""
    return f'<prosody rate="{rate:.4g}"/>'


def has_mark(text: str) -> bool:
    """Test if a text contains a pause, valid or not, or a change of the rate."""
    return _MARK.search(text) is not None


def literal(text: str) -> str:
    """Unescape ``&lt;break`` in a text without pauses."""
    return _ESCAPED.sub("<", text)


def escape_marks(text: str) -> str:
    """Escape text that would be read as a mark; ``literal`` is the inverse."""
    return _LIKE_A_MARK.sub("&lt;", text)


def paragraph_seconds(sentence: str) -> float:
    """Silence that only sets a sentence apart from the paragraph before it."""
    return PARAGRAPH_SECONDS if sentence.startswith(f"{PARAGRAPH_PAUSE} ") else 0.0


def without_marks(text: str) -> str:
    """Remove pauses and changes of the rate."""
    return _RATE.sub("", _PAUSE.sub("", text))


def parts(text: str) -> Iterator[TextPart]:
    """Yield the parts of a text between pauses and changes of the rate.

    A text without a mark is a single part; otherwise parts without a letter or digit are left out.

    Raises:
        TextError: a pause is invalid or too long.
    """
    if not has_mark(text):
        yield TextPart(0.0, None, text)
        return
    seconds, rate, place = 0.0, None, 0
    while found := _MARK.search(text, place):
        part = text[place : found.start()].strip()
        if any(map(str.isalnum, part)):
            yield TextPart(seconds, rate, part)
            seconds, rate = 0.0, None
        change = _RATE.match(text, found.start())
        if change is not None:
            rate, place = float(change["rate"]), change.end()
            continue
        pause = _PAUSE.match(text, found.start())
        seconds += _seconds(pause, text, found.start())
        assert pause is not None
        place = pause.end()
    part = text[place:].strip()
    yield TextPart(seconds, rate, part if any(map(str.isalnum, part)) else "")


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
