"""Pauses in a text, as in SSML: ``<break time="300ms"/>``.

The text is cut there and silence is put into the wave. Zero samples, not frames of codes: they last as long as asked
with any codec, need no model that has learnt a token for them, and leave the states of model and decoder alone, so
that what is said after a pause is the same however long it was. As in XML, ``&lt;break`` is no pause but those words.
"""

import re
from collections.abc import Iterator

from lina.core.errors import TextError

LONGEST_PAUSE = 10.0
"""Seconds."""

_LIKE_A_PAUSE = re.compile(r"<break(?=[\s/>]|$)")
_ESCAPED = re.compile(r"&lt;(?=break(?:[\s/>&]|$))")
_PAUSE = re.compile(r"""<break\s+time\s*=\s*(["'])(?P<time>\d{1,6}(?:\.\d{1,6})?)(?P<unit>ms|s)\1\s*/>""")


def has_pause(text: str) -> bool:
    return _LIKE_A_PAUSE.search(text) is not None


def literal(text: str) -> str:
    """A text without a pause as it is meant: ``<break`` where it says ``&lt;break``."""
    return _ESCAPED.sub("<", text)


def parts(text: str) -> Iterator[tuple[float, str]]:
    """What is said of a text, each with the seconds of silence before it; the last may be empty.

    A text without a pause is one part, as it is; of others, parts without a letter or digit are left out.

    Raises:
        TextError: a pause that is none, or a too long one (says which and where).
    """
    if not has_pause(text):
        yield 0.0, text
        return
    seconds, place = 0.0, 0
    while found := _LIKE_A_PAUSE.search(text, place):
        said = text[place : found.start()].strip()
        if any(map(str.isalnum, said)):
            yield seconds, said
            seconds = 0.0
        pause = _PAUSE.match(text, found.start())
        seconds += _seconds(pause, text, found.start())
        assert pause is not None
        place = pause.end()
    said = text[place:].strip()
    yield seconds, said if any(map(str.isalnum, said)) else ""


def _seconds(pause: re.Match[str] | None, text: str, place: int) -> float:
    near = repr(text[place : place + 30])
    if pause is None:
        raise TextError(f'pause {near} at character {place} is not understood; write <break time="300ms"/>')
    seconds = float(pause["time"]) / (1000 if pause["unit"] == "ms" else 1)
    if seconds > LONGEST_PAUSE:
        raise TextError(f"pause {near} at character {place} lasts over {LONGEST_PAUSE:g} s; write several")
    return seconds
