"""SSML (Speech Synthesis Markup Language 1.1, W3C 2010), as far as lina supports it.

SSML is removed from a text: ``sub`` its alias, ``phoneme`` phonemes in brackets, ``say-as`` a spelling
of that reading, ``p`` and ``s`` a blank line; ``break`` stays, for ``lina.core.text.pauses``. Other elements are left
out with a warning, and their words are read. Tags are matched one by one in linear time; nothing is loaded, and only
character entities are expanded, so malicious documents have no effect.
"""

import html
import logging
import re
from collections.abc import Callable
from functools import lru_cache

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
_SILENT = frozenset(["speak", "p", "paragraph", "s", "sentence", "sub", "say-as", "phoneme", "break"])
_UNREAD = frozenset(["metadata", "desc"])
"""Elements whose content is not spoken."""


def has_ssml(text: str) -> bool:
    """Test if a text contains SSML."""
    return "<" in text and _EVIDENCE.search(text) is not None


def strip_ssml(text: str, phonemes: bool) -> str:
    """Remove SSML from a text, except for ``break``; a text without SSML is unchanged.

    ``phonemes``: the tokenizer reads phonemes in brackets; otherwise the words of ``phoneme`` are read.
    """
    if not has_ssml(text):
        return text
    document = "<speak" in text
    pieces: list[str] = []
    open_elements: list[tuple[str, dict[str, str], int]] = []
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
            _close(name, pieces, open_elements, phonemes)
        else:
            attributes = {
                key: html.unescape(one or other)
                for key, one, other in _ATTRIBUTE.findall(match["attributes"])
            }
            _warn(name, attributes)
            if name in ("p", "paragraph", "s", "sentence"):
                pieces.append("\n\n")
            elif not match["empty"]:
                open_elements.append((name, attributes, len(pieces)))
    pieces.append(_characters(text[place:], document))
    return "".join(pieces).strip()


def _characters(text: str, document: bool) -> str:
    """Expand the entities of a document, keeping an escaped ``<break`` from becoming a pause."""
    return re.sub(r"<(?=break)", "&lt;", html.unescape(text)) if document else text


def _close(
    name: str, pieces: list[str], open_elements: list[tuple[str, dict[str, str], int]], phonemes: bool
) -> None:
    if name in ("p", "paragraph", "s", "sentence"):
        pieces.append("\n\n")
        return
    if not open_elements or open_elements[-1][0] != name:
        return  # tags that cross are left out one by one
    _, attributes, start = open_elements.pop()
    inside = "".join(pieces[start:])
    read = _ELEMENTS.get(name)
    if read is not None:
        pieces[start:] = [read(inside, attributes, phonemes)]
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
        settings = ", ".join(f"{key}={value!r}" for key, value in attributes.items())
        warn_once(
            f"SSML prosody {settings} is left out: voices have no control of it yet; its words are read"
        )
    elif name not in _SILENT:
        words = "with its words" if name in _UNREAD else "its words are read"
        warn_once(f"SSML element <{name}> is left out; {words}")


@lru_cache(maxsize=10_000)
def warn_once(message: str) -> None:
    """Log a warning once per process."""
    log.warning("%s", message)
