"""SSML (Speech Synthesis Markup Language 1.1, W3C 2010), as far as lina supports it.

SSML is removed from a text: ``sub`` becomes its alias, ``phoneme`` phonemes in brackets, ``say-as`` a spelling
of that reading, ``p`` a blank line, ``s`` a line separator, the rate of ``prosody`` marks where it changes; ``break``
stays, for ``lina.core.text.pauses``. Other elements are left out with a warning, and their words are read. Tags are
matched one by one in linear time; nothing is loaded, and only character entities are expanded, so malicious documents
have no effect.
"""

import html
import logging
import re
from collections.abc import Callable
from functools import lru_cache

from lina.core.text.pauses import MAX_RATE, MIN_RATE, PARAGRAPH_PAUSE, escape_marks, rate_mark, without_marks

log = logging.getLogger("lina")

_NAMES = (
    "speak p paragraph s sentence sub say-as phoneme prosody break emphasis voice audio mark lang w token lexicon "
    "lookup metadata meta desc"
).replace(" ", "|")
_ATTRIBUTES = r"""(?:\s+[\w:.-]{1,40}\s*=\s*(?:"[^"<]{0,500}"|'[^'<]{0,500}')){0,12}"""
_TAG = re.compile(
    rf"<(?P<close>/)?(?P<name>(?:[a-z]{{1,10}}:)?(?:{_NAMES}))(?P<attributes>{_ATTRIBUTES})\s*(?P<empty>/)?>|"
    r"<\?xml[^<>]{0,200}\?>|<!--(?:[^-]|-(?!->)){0,2000}-->|<!DOCTYPE[^<>]{0,300}>"
)
_ATTRIBUTE = re.compile(r"""([\w:.-]+)\s*=\s*(?:"([^"<]*)"|'([^'<]*)')""")
_EVIDENCE = re.compile(r"<(?:speak|sub|say-as|phoneme|prosody|emphasis|voice|lang)\b|<(?:s|p)>|<break\b")
_SILENT = frozenset(
    ["speak", "p", "paragraph", "s", "sentence", "sub", "say-as", "phoneme", "prosody", "break"]
)
_ENDS = {"p": "\n\n", "paragraph": "\n\n", "s": "\u2028", "sentence": "\u2028"}
"""Texts that end a paragraph or a sentence."""
RATES = {"x-slow": 0.6, "slow": 0.8, "medium": 1.0, "default": 1.0, "fast": 1.25, "x-fast": 1.6}
"""Speaking rates by name; SSML leaves them to the synthesizer."""
_RATE = re.compile(r"(?P<sign>[+-]?)(?P<number>\d{1,4}(?:\.\d{1,4})?|\.\d{1,4})\s?(?P<percent>%?)")
_UNREAD = frozenset(["metadata", "desc"])
"""Elements whose content is not spoken."""


def has_ssml(text: str) -> bool:
    """Test if a text contains SSML, other than the pause of a paragraph."""
    return "<" in text and _EVIDENCE.search(text.removeprefix(PARAGRAPH_PAUSE)) is not None


def strip_ssml(text: str, phonemes: bool) -> str:
    """Remove SSML from a text, except for ``break`` and marks of the rate; a text without SSML is unchanged.

    An empty ``prosody`` is the mark of a rate: it holds from there on. Removing SSML twice gives the same.

    ``phonemes``: the tokenizer reads phonemes in brackets; otherwise the words of ``phoneme`` are read.
    """
    if not has_ssml(text):
        return text
    document = "<speak" in text
    pieces: list[str] = []
    open_elements: list[tuple[str, dict[str, str], int]] = []
    rates = [1.0]
    place = 0
    for match in _TAG.finditer(text):
        pieces.append(_characters(text[place : match.start()], document))
        place = match.end()
        name = (match["name"] or "").rpartition(":")[2]
        if not name:
            continue
        if name == "break":
            pieces.append(match[0])
        elif match["close"]:
            if name == "prosody" and len(rates) > 1:
                rates.pop()
                pieces.append(rate_mark(rates[-1]))
            _close(name, pieces, open_elements, phonemes)
        else:
            attributes = {
                key: html.unescape(one or other)
                for key, one, other in _ATTRIBUTE.findall(match["attributes"])
            }
            _warn(name, attributes)
            if name in _ENDS:
                pieces.append(_ENDS[name])
            elif name == "prosody":
                rate = _rate(attributes.get("rate"), rates[-1])
                rates = [*rates, rate] if not match["empty"] else [*rates[:-1], rate]
                pieces.append(rate_mark(rate))
            elif not match["empty"]:
                open_elements.append((name, attributes, len(pieces)))
    pieces.append(_characters(text[place:], document))
    if len(rates) > 1:
        pieces.append(rate_mark(rates[0]))
    return "".join(pieces).strip()


def _characters(text: str, document: bool) -> str:
    """Expand the entities of a document, keeping an escaped ``<break`` from becoming a pause."""
    return escape_marks(html.unescape(text)) if document else text


def _rate(value: str | None, outer: float) -> float:
    """The speaking rate of a ``prosody`` within one of the rate ``outer``."""
    if value is None:
        return outer
    name = value.strip().lower()
    if name in RATES:
        return RATES[name]
    found = _RATE.fullmatch(name)
    if found is None or (found["sign"] and not found["percent"]):
        warn_once(
            f"SSML prosody rate={value[:40]!r} is left out; write 80%, +20%, 1.2, or one of {', '.join(RATES)}"
        )
        return outer
    number = float(found["number"]) / (100 if found["percent"] else 1)
    rate = outer * (1 + float(f"{found['sign']}{number}")) if found["sign"] else number
    nearest = min(max(rate, MIN_RATE), MAX_RATE)
    if nearest != rate:
        warn_once(f"SSML prosody rate={value[:40]!r} is read as {nearest:.0%}, the nearest that stays clear")
    return nearest


def _close(
    name: str, pieces: list[str], open_elements: list[tuple[str, dict[str, str], int]], phonemes: bool
) -> None:
    if name in _ENDS:
        pieces.append(_ENDS[name])
        return
    if not open_elements or open_elements[-1][0] != name:
        return  # tags that cross are left out one by one
    _, attributes, start = open_elements.pop()
    inside = "".join(pieces[start:])
    read = _ELEMENTS.get(name)
    if read is not None:
        pieces[start:] = [read(without_marks(inside), attributes, phonemes)]
    elif name in _UNREAD:
        pieces[start:] = []


def _sub(inside: str, attributes: dict[str, str], phonemes: bool) -> str:
    return attributes.get("alias", inside)


def _phoneme(inside: str, attributes: dict[str, str], phonemes: bool) -> str:
    sounds = attributes.get("ph", "").replace("[", "").replace("]", "").strip()
    if not sounds or attributes.get("alphabet", "ipa").lower() != "ipa":
        warn_once(
            f"SSML phoneme of {inside.strip()[:40]!r} is left out: lina reads alphabet ipa with ph only"
        )
        return inside
    if not phonemes:
        warn_once("SSML phoneme is left out: this run's tokenizer reads letters, not phonemes")
        return inside
    return f"[{sounds}]" if set(sounds) & set("ˈˌ") else f"[ˈ{sounds}]"


def _say_as(inside: str, attributes: dict[str, str], phonemes: bool) -> str:
    kind = attributes.get("interpret-as", "").lower()
    text = inside.strip()
    if kind in ("characters", "spell-out", "verbatim"):
        return " ".join(_spelled(part) for part in re.findall(r"[^\W\d_]+|\d|[^\w\s]", text))
    if kind in ("digits", "telephone"):
        return (
            ", ".join(" ".join(re.findall(r"\d", group)) for group in re.findall(r"\d[\d]*", text)) or inside
        )
    if kind == "ordinal" and text.isdecimal():
        return text + _ordinal_ending(text)
    if kind == "date":
        return _date(text, attributes.get("format", "").lower())
    if kind in ("expletive", "bleep"):
        warn_once("SSML say-as expletive is left out, with its words")
        return ""
    if kind not in (
        "cardinal",
        "number",
        "ordinal",
        "fraction",
        "unit",
        "time",
        "currency",
        "address",
        "name",
    ):
        warn_once(f"SSML say-as interpret-as={kind!r} is left out: lina does not know it; its words are read")
    return inside


def _spelled(part: str) -> str:
    return ".".join(part.upper()) + "." * (len(part) > 1) if part.isalpha() else part


def _ordinal_ending(text: str) -> str:
    return "th" if text[-2:-1] == "1" else {"1": "st", "2": "nd", "3": "rd"}.get(text[-1], "th")


def _date(text: str, form: str) -> str:
    """``YYYY-MM-DD`` of a numeric date whose ``format`` says which number is which."""
    numbers = re.findall(r"\d+", text)
    if sorted(form) != ["d", "m", "y"] or len(numbers) != 3:
        return text
    found = dict(zip(form, map(int, numbers), strict=True))
    year = found["y"] + (0 if found["y"] > 99 else 2000 if found["y"] < 70 else 1900)
    return f"{year:04}-{found['m']:02}-{found['d']:02}"


_ELEMENTS: dict[str, Callable[[str, dict[str, str], bool], str]] = {
    "sub": _sub,
    "phoneme": _phoneme,
    "say-as": _say_as,
}


def _warn(name: str, attributes: dict[str, str]) -> None:
    if name == "prosody":
        others = ", ".join(f"{key}={value!r}" for key, value in attributes.items() if key != "rate")
        if others:
            warn_once(f"SSML prosody {others} is left out: voices have control of the rate only")
    elif name not in _SILENT:
        words = "with its words" if name in _UNREAD else "its words are read"
        warn_once(f"SSML element <{name}> is left out; {words}")


@lru_cache(maxsize=10_000)
def warn_once(message: str) -> None:
    """Log a warning once per process."""
    log.warning("%s", message)
